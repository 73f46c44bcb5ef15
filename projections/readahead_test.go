package projections_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// endless is a store with as many events as anybody reads.
type endless struct{ eventstore.Store }

func (endless) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		for p := opts.After + 1; opts.To == 0 || p <= opts.To; p++ {
			if ctx.Err() != nil {
				yield(eventstore.RecordedEvent{}, ctx.Err())
				return
			}
			if !yield(eventstore.RecordedEvent{Position: p}, nil) {
				return
			}
		}
	}
}

func TestAReaderAheadGivesEveryEventInOrder(t *testing.T) {
	for _, bounds := range [][2]eventstore.Position{{0, 1}, {7, 10}, {0, 1024}, {3, 10_000}} {
		next := bounds[0] + 1
		for events, err := range projections.ReadAhead(t.Context(), endless{}, eventstore.ReadAllOptions{After: bounds[0], To: bounds[1]}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Position != next {
					t.Fatalf("between %d and %d the event at %d came where %d was due", bounds[0], bounds[1], e.Position, next)
				}
				next++
			}
		}
		if next != bounds[1]+1 {
			t.Errorf("between %d and %d the events end before %d", bounds[0], bounds[1], next)
		}
	}
}

// What a context cuts short never looks whole, wherever the reader is.
func TestASequenceThatIsCutShortEndsWithAnError(t *testing.T) {
	for range 50 { // the reader has a choice
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var last error
			batches := 0
			for _, err := range projections.ReadAhead(ctx, endless{}, eventstore.ReadAllOptions{}) {
				last = err
				if batches++; batches == 3 {
					synctest.Wait() // until the reader waits for the consumer
					cancel()
				}
			}
			if !errors.Is(last, context.Canceled) {
				t.Errorf("after %d batches the sequence ends with %v", batches, last)
			}
		})
	}
}
