package projections

import (
	"context"
	"iter"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	aheadBatch   = 1024 // events that are handed over at once
	aheadBatches = 4    // batches that may wait
)

// ReadAhead is the store's ReadAll with the reading done by a goroutine of its own, so that a long
// replay reads and applies at the same time. The goroutine has ended when the sequence has.
// An event's memory is not used again.
func ReadAhead(ctx context.Context, store eventstore.Store, opts eventstore.ReadAllOptions) iter.Seq2[*eventstore.RecordedEvent, error] {
	type batch struct {
		events []eventstore.RecordedEvent
		err    error
	}
	return func(yield func(*eventstore.RecordedEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		batches := make(chan batch, aheadBatches) // closed by the reader; when it is full, the reader waits
		go func() {
			defer close(batches)
			b := batch{events: make([]eventstore.RecordedEvent, 0, aheadBatch)}
			send := func() bool {
				select {
				case batches <- b:
					b.events = make([]eventstore.RecordedEvent, 0, aheadBatch)
					return true
				case <-ctx.Done():
					return false
				}
			}
			for e, err := range store.ReadAll(ctx, opts) {
				if b.err = err; err != nil {
					break
				}
				if b.events = append(b.events, e); len(b.events) == aheadBatch && !send() {
					return
				}
			}
			send()
		}()
		defer func() {
			cancel()
			for range batches { // until the reader has ended
			}
		}()
		for b := range batches {
			for i := range b.events {
				if !yield(&b.events[i], nil) {
					return
				}
			}
			if b.err != nil {
				yield(nil, b.err)
				return
			}
		}
	}
}
