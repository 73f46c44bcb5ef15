package pebblestore

import (
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// The filters grow by tiers, find each stream that was added, and take few others for one.
func TestFiltersFindEachStreamThatWasAdded(t *testing.T) {
	const streams = 200_000 // three tiers
	k := newKnown()
	hash := func(i int) uint64 { return xxhash.Sum64String(fmt.Sprint("instance-default/web/", i)) }
	for i := range streams {
		k.add(hash(i))
	}
	k.complete.Store(true)
	if tiers := len(*k.tiers.Load()); tiers != 3 {
		t.Errorf("%d streams are in %d tiers", streams, tiers)
	}
	wrong := 0
	for i := range streams {
		if k.lacks(hash(i)) {
			t.Fatalf("stream %d was added and is not found", i)
		}
		if !k.lacks(hash(streams + i)) {
			wrong++
		}
	}
	if wrong > streams/100 {
		t.Errorf("%d of %d other streams are taken for one that was added", wrong, streams)
	}
}
