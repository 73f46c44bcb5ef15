package pebblestore_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The ids that the store gives to lifecycle events are UUIDs of version 7 that grow, within a commit and from commit to commit.
func TestIDsOfLifecycleEventsGrow(t *testing.T) {
	s, err := pebblestore.Open("data", pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 20 {
		requests := make([]eventstore.AppendRequest, 100) // all appends need more random bytes than are read at once
		for i := range requests {
			requests[i] = eventstore.AppendRequest{Stream: "instance-default/web/1", Events: []eventstore.EventData{{Type: "Changed", Data: []byte(`{}`)}}}
		}
		if _, err := s.Append(ctx, nil, requests...); err != nil {
			t.Fatal(err)
		}
	}
	var newest uuid.UUID
	events := 0
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream != "instance-default/web/1" {
			continue
		}
		if e.ID.Version() != 7 || e.ID.Variant() != uuid.RFC4122 || e.ID.String() <= newest.String() {
			t.Fatalf("event %d has the id %v after %v", e.Position, e.ID, newest)
		}
		newest = e.ID
		events++
	}
	if events != 2000 {
		t.Fatalf("%d events were read, want 2000", events)
	}
}
