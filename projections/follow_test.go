package projections_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
)

func appendOne(t *testing.T, store eventstore.Store, stream eventstore.StreamName) {
	t.Helper()
	request := eventstore.AppendRequest{Stream: stream, Events: []eventstore.EventData{{Type: "x", Data: []byte("{}")}}}
	if _, err := store.Append(t.Context(), nil, request); err != nil {
		t.Fatal(err)
	}
}

func TestFollowHandsOverWhatTheFilterPicksAfterThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		for _, stream := range []eventstore.StreamName{"a", "b", "a"} {
			appendOne(t, store, stream)
		}
		ctx, stop := context.WithCancel(t.Context())
		var seen []eventstore.Position
		ended := make(chan error, 1)
		go func() {
			opts := eventstore.SubscribeOptions{After: 1, Filter: eventstore.Filter{StreamPrefixes: []string{"a"}}}
			ended <- projections.Follow(ctx, store, opts, func(events []eventstore.RecordedEvent, _ eventstore.Position) error {
				for _, e := range events {
					seen = append(seen, e.Position)
				}
				return nil
			})
		}()
		synctest.Wait()
		appendOne(t, store, "a")
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the end of the context gave %v", err)
		}
		if len(seen) != 2 || seen[0] != 3 || seen[1] != 4 {
			t.Errorf("saw %v, want 3 and 4", seen)
		}
	})
}

func TestFollowEndsQuietlyWithTheStoreAndLoudlyWithAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		appendOne(t, store, "a")
		fault := errors.New("fault")
		err := projections.Follow(t.Context(), store, eventstore.SubscribeOptions{}, func([]eventstore.RecordedEvent, eventstore.Position) error { return fault })
		if !errors.Is(err, fault) {
			t.Errorf("apply's fault became %v", err)
		}
		ended := make(chan error, 1)
		go func() {
			ended <- projections.Follow(t.Context(), store, eventstore.SubscribeOptions{}, func([]eventstore.RecordedEvent, eventstore.Position) error { return nil })
		}()
		synctest.Wait()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the store's close gave %v", err)
		}
	})
}
