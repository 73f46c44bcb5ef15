package stream_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// A consumer that was told of events which a restore took away goes on after the fork, and keeps its place on the new
// timeline.
func TestAConsumerOfTheLostFutureGoesOnAfterTheFork(t *testing.T) {
	checkpoints, err := stream.OpenCheckpoints(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := eventstoretest.NewMemory()
	register := func(s eventstore.Store, id string) {
		put(t, s, eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: id}), domain.TypeInstanceDeregistered)
	}
	// take gives the positions of the next n messages to the consumer.
	take := func(s eventstore.Store, n int) (positions []string) {
		t.Helper()
		sub, err := stream.NewSubscriber(stream.Config{Source: s, Consumer: "c", Checkpoints: checkpoints})
		if err != nil {
			t.Fatal(err)
		}
		messages, err := sub.Subscribe(t.Context(), "events")
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			var m *message.Message
			select {
			case m = <-messages:
			case <-time.After(10 * time.Second):
				t.Fatal("no message came")
			}
			positions = append(positions, m.Metadata["position"])
			m.Ack()
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		return positions
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		register(store, id)
	}
	take(store, 4)
	restored, err := store.Restored("aa", 2)
	if err != nil {
		t.Fatal(err)
	}
	register(restored, "e")
	if got := take(restored, 2); got[0] != "3-aa" || got[1] != "4-aa" {
		t.Errorf("it goes on with %v, want the timeline's beginning at 3-aa", got)
	}
	register(restored, "f")
	if got := take(restored, 1); got[0] != "5-aa" {
		t.Errorf("it goes on with %v, want 5-aa", got)
	}
}
