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
// Events come by batches. A batch is valid until the next one; what its events point to is not used again.
func ReadAhead(ctx context.Context, store eventstore.Store, opts eventstore.ReadAllOptions) iter.Seq2[[]eventstore.RecordedEvent, error] {
	type batch struct {
		events []eventstore.RecordedEvent
		err    error
	}
	return func(yield func([]eventstore.RecordedEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		batches := make(chan batch, aheadBatches)                    // closed by the reader; when it is full, the reader waits
		spent := make(chan []eventstore.RecordedEvent, aheadBatches) // to be filled again; what does not fit is dropped
		go func() {
			defer close(batches)
			b := batch{events: make([]eventstore.RecordedEvent, 0, aheadBatch)}
			send := func() bool {
				select {
				case batches <- b:
				case <-ctx.Done():
					return false
				}
				select {
				case b.events = <-spent:
				default:
					b.events = make([]eventstore.RecordedEvent, 0, aheadBatch)
				}
				return true
			}
			for e, err := range store.ReadAll(ctx, opts) {
				b.err = err
				if err != nil {
					break
				}
				b.events = append(b.events, e)
				if len(b.events) == aheadBatch && !send() {
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
			if len(b.events) > 0 && !yield(b.events, nil) {
				return
			}
			if b.err != nil {
				yield(nil, b.err)
				return
			}
			select {
			case spent <- b.events[:0]:
			default:
			}
		}
	}
}
