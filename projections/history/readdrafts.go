package history

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// drafted are events with their drafts.
type drafted struct {
	events []eventstore.RecordedEvent
	made   drafts
	done   chan struct{} // is closed when the drafts are made
}

// readDrafts reads the events up to the head, and calls apply with them and their drafts, in order. The drafts are made by
// goroutines of their own, and packed if there are at least packFrom of them. All goroutines have ended when readDrafts returns. apply
// keeps neither list.
func readDrafts(ctx context.Context, store eventstore.Store, head eventstore.Position, packFrom int, apply func([]eventstore.RecordedEvent, *drafts) error) error {
	group, ctx := errgroup.WithContext(ctx)
	makers := max(runtime.GOMAXPROCS(0)-1, 1)
	ordered := make(chan *drafted, 2*makers) // closed by the reader; when it is full, the reader waits
	raw := make(chan *drafted, 2*makers)     // closed by the reader; when it is full, the reader waits
	spent := sync.Pool{New: func() any { return new(drafted) }}
	group.Go(func() error {
		defer close(raw)
		defer close(ordered)
		for events, err := range projections.ReadAhead(ctx, store, eventstore.ReadAllOptions{To: max(head, 1)}) {
			if err != nil {
				return err
			}
			d := spent.Get().(*drafted)
			d.events, d.done = append(d.events[:0], events...), make(chan struct{})
			select {
			case ordered <- d:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case raw <- d:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range makers {
		group.Go(func() error {
			for d := range raw {
				d.made.make(d.events)
				if len(d.made.list) >= packFrom {
					d.made.pack()
				}
				close(d.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		for d := range ordered {
			select {
			case <-d.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := apply(d.events, &d.made); err != nil {
				return err
			}
			clear(d.events)
			spent.Put(d)
		}
		return nil
	})
	return group.Wait()
}
