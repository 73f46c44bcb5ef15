package pebblestore_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The memory of heartbeats is used again, but not while a subscriber holds them.
func TestASubscribersEventsStayUntilItAsksForMore(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	const commits = 60
	var readers sync.WaitGroup
	for range 3 {
		sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			defer sub.Close()
			for next := eventstore.Position(1); next <= commits*manyStreams; {
				events, position, err := sub.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				copied := slices.Clone(events)
				for range 3 { // commits pass meanwhile
					if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: heartbeats(0), Events: []eventstore.EventData{beat}}); err != nil {
						t.Error(err)
						return
					}
				}
				for i := range events {
					if events[i].Position != copied[i].Position || events[i].Stream != copied[i].Stream {
						t.Errorf("position %d of %s became %d of %s", copied[i].Position, copied[i].Stream, events[i].Position, events[i].Stream)
						return
					}
				}
				if events[0].Position != next {
					t.Errorf("position %d comes where %d should", events[0].Position, next)
					return
				}
				next = position + 1
			}
		})
	}
	for range commits {
		beatAll(t, s)
	}
	readers.Wait()
}
