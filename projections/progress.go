// Package projections has what read models share: following a store, progress, snapshots, reading ahead.
package projections

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Progress is the position that a projection has reached. Readers can wait for a position.
type Progress struct {
	position atomic.Uint64
	mu       sync.Mutex
	waiting  map[*waiter]struct{}
}

type waiter struct {
	until   eventstore.Position
	reached chan struct{} // closed when the position is reached
}

// Position is the position up to which all events have been applied.
func (p *Progress) Position() eventstore.Position {
	return eventstore.Position(p.position.Load())
}

// WaitFor returns when every event up to the position has been applied.
func (p *Progress) WaitFor(ctx context.Context, position eventstore.Position) error {
	if p.Position() >= position {
		return nil
	}
	w := &waiter{until: position, reached: make(chan struct{})}
	p.mu.Lock()
	if p.Position() >= position {
		p.mu.Unlock()
		return nil
	}
	if p.waiting == nil {
		p.waiting = make(map[*waiter]struct{})
	}
	p.waiting[w] = struct{}{}
	p.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.waiting, w)
		p.mu.Unlock()
		return ctx.Err()
	}
}

// Advance says that every event up to the position has been applied.
func (p *Progress) Advance(position eventstore.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position.Store(uint64(position))
	for w := range p.waiting {
		if w.until <= position {
			delete(p.waiting, w)
			close(w.reached)
		}
	}
}
