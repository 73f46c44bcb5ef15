package projections

import (
	"context"
	"iter"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	aheadBatch   = 1024 // events of a batch
	aheadBatches = 4    // batches that are read ahead
)

// ReadAhead is the store's ReadAll in batches. A goroutine of its own reads, so that a long replay reads and applies at the
// same time. The goroutine has ended when the sequence ends. A sequence that ends without an error is whole.
//
// INVARIANT: the consumer owns a batch until it asks for the next one. Then the batch's memory goes back to the reader
// through spent. The data that events point to is not used again, so a consumer may keep copies of events.
func ReadAhead(ctx context.Context, store eventstore.Store, opts eventstore.ReadAllOptions) iter.Seq2[[]eventstore.RecordedEvent, error] {
	type batch struct {
		events []eventstore.RecordedEvent
		err    error
	}
	return func(yield func([]eventstore.RecordedEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		batches := make(chan batch, aheadBatches)                    // closed by the reader; when it is full, the reader waits
		spent := make(chan []eventstore.RecordedEvent, aheadBatches) // memory of batches for the reader; when it is full, memory is dropped; never closed
		go func() {
			defer close(batches)
			size := aheadBatch
			if opts.To > opts.After {
				size = int(min(aheadBatch, opts.To-opts.After))
			}
			b := batch{events: make([]eventstore.RecordedEvent, 0, size)}
			send := func() bool {
				select {
				case batches <- b:
				case <-ctx.Done():
					return false
				}
				select {
				case b.events = <-spent:
				default:
					b.events = make([]eventstore.RecordedEvent, 0, size)
				}
				return true
			}
			for e, err := range store.ReadAll(ctx, opts) {
				b.err = err
				if err != nil {
					break
				}
				b.events = append(b.events, e)
				if len(b.events) == size && !send() {
					return
				}
			}
			send()
		}()
		defer func() {
			cancel()
			for range batches { // drained until the reader has ended
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
		if err := ctx.Err(); err != nil { // the reader may have stopped before the end, without a word
			yield(nil, err)
		}
	}
}
