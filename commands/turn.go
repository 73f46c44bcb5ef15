package commands

import (
	"context"
	"sync"
)

// turn lets one command at a time go on, of those that change one stream. Its zero value is ready for use.
type turn struct {
	once  sync.Once
	taken chan struct{} // has an element while a command has the turn; never closed
}

// take waits for the turn, or until the caller gives up.
func (t *turn) take(ctx context.Context) (release func(), err error) {
	t.once.Do(func() { t.taken = make(chan struct{}, 1) })
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
