package pebblestore

import (
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The filters grow by tiers, find each stream that was added, and take few others for one.
func TestFiltersFindEachStreamThatWasAdded(t *testing.T) {
	const streams = 200_000 // three tiers
	k := newKnown()
	name := func(i int) eventstore.StreamName {
		return eventstore.StreamName(fmt.Sprint("instance-default/web/", i))
	}
	for i := range streams {
		k.add(xxhash.Sum64String(string(name(i))))
	}
	k.complete.Store(true)
	if tiers := len(*k.tiers.Load()); tiers != 3 {
		t.Errorf("%d streams are in %d tiers", streams, tiers)
	}
	wrong := 0
	for i := range streams {
		if k.lacks(name(i)) {
			t.Fatalf("%s was added and is not found", name(i))
		}
		if !k.lacks(name(streams + i)) {
			wrong++
		}
	}
	if wrong > streams/100 {
		t.Errorf("%d of %d other streams are taken for one that was added", wrong, streams)
	}
}
