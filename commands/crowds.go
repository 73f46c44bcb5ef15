package commands

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// crowds lets the commands to an instance go one after the other where many come at once, such as the reports of many checks that change.
// Of commands at once one succeeds with each attempt, and the last of many would be refused as contended. So a command that another
// one was before takes a turn, and from then on all commands of this node to the instance do, until none is left. The zero value is ready
// for use.
type crowds struct {
	some atomic.Int32 // number of crowds; 0: nobody needs to look for one

	mu sync.Mutex
	of map[domain.Key]*crowd
}

// crowd has the commands to one instance that have the turn or wait for it.
type crowd struct {
	turn turn
	size int // guarded by crowds.mu
}

// turnTimeout is how long a command waits for its turn. Then the command goes on without one: the store may not answer the others.
const turnTimeout = 2 * time.Second

// join waits for a command's turn. leave gives the turn back; nil: there is no crowd. lost says that another command was before this
// one, which begins a crowd where there is none.
func (c *crowds) join(ctx context.Context, key domain.Key, lost bool) (leave func()) {
	if !lost && c.some.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	one := c.of[key]
	if one == nil {
		if !lost {
			c.mu.Unlock()
			return nil
		}
		if c.of == nil {
			c.of = make(map[domain.Key]*crowd)
		}
		one = &crowd{}
		c.of[key] = one
		c.some.Add(1)
	}
	one.size++
	c.mu.Unlock()
	waiting, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	release, err := one.turn.take(waiting)
	return func() {
		if err == nil {
			release()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if one.size--; one.size == 0 {
			delete(c.of, key)
			c.some.Add(-1)
		}
	}
}
