package history

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// drafted are events with their drafts.
type drafted struct {
	events []eventstore.RecordedEvent
	made   drafts
	done   chan struct{} // is closed when the drafts are made
}

// draftsAtOnce is of how many events drafts are made at once.
const draftsAtOnce = 1024

// readDrafts reads the events up to the head, and calls apply with them and their drafts, in order. The drafts are made by
// goroutines of their own, and packed if there are at least packFrom of them. All goroutines have ended when readDrafts returns. apply
// keeps neither list.
func readDrafts(ctx context.Context, store eventstore.Store, head eventstore.Position, packFrom int, apply func([]eventstore.RecordedEvent, *drafts) error) error {
	group, ctx := errgroup.WithContext(ctx)
	makers := runtime.GOMAXPROCS(0)
	ordered := make(chan *drafted, 2*makers) // closed by the reader; when it is full, the reader waits
	raw := make(chan *drafted, 2*makers)     // closed by the reader; when it is full, the reader waits
	spent := sync.Pool{New: func() any { return new(drafted) }}
	group.Go(func() error {
		defer close(raw)
		defer close(ordered)
		var d *drafted
		send := func() error {
			d.done = make(chan struct{})
			for _, to := range []chan<- *drafted{ordered, raw} {
				select {
				case to <- d:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			d = nil
			return nil
		}
		for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{To: max(head, 1)}) {
			if err != nil {
				return err
			}
			if d == nil {
				d = spent.Get().(*drafted)
				d.events = d.events[:0]
			}
			if d.events = append(d.events, e); len(d.events) == draftsAtOnce {
				if err := send(); err != nil {
					return err
				}
			}
		}
		if d == nil {
			return nil
		}
		return send()
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
