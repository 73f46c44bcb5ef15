package leases

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// Whatever comes and goes, a shard finds what a map would, also where keys have the same hash.
func TestAShardFindsWhatAMapWould(t *testing.T) {
	entries := catalog.New()
	instance := func(id int) *catalog.Entry {
		event := domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Address: "10.0.0.5", Status: domain.Passing, TTL: domain.Duration(time.Second)}}
		data, err := domain.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		_, entry, err := entries.Apply(&eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)},
			Stream:    eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(id)}),
		})
		if err != nil {
			t.Fatal(err)
		}
		return entry
	}
	rapid.Check(t, func(t *rapid.T) {
		var s shard
		want := map[string]*lease{}
		hashes := rapid.SampledFrom([]uint32{1, 3, 1 << 20}).Draw(t, "hashes")
		ids := rapid.SampledFrom([]int{5, 20, 300}).Draw(t, "ids")
		find := func(id int) *lease {
			return s.leases.Find(uint32(id)%hashes, domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(id)})
		}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			id := rapid.IntRange(0, ids-1).Draw(t, "id")
			l := find(id)
			if l != want[fmt.Sprint(id)] {
				t.Fatalf("%d is %v, want %v", id, l, want[fmt.Sprint(id)])
			}
			if l == nil {
				l = &lease{of: instance(id), hash: uint32(id) % hashes}
				s.leases.Add(l)
				want[l.of.ID()] = l
			} else {
				s.leases.Remove(l)
				delete(want, l.of.ID())
			}
			if s.leases.Len() != len(want) {
				t.Fatalf("%d leases are %d", len(want), s.leases.Len())
			}
		}
		for id := range ids {
			if l := find(id); l != want[fmt.Sprint(id)] {
				t.Fatalf("%d is %v, want %v", id, l, want[fmt.Sprint(id)])
			}
		}
	})
}

func TestALeaseIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(lease{}); size > 48 {
		t.Errorf("a lease takes %d bytes, of which 42 do not fit into 2 KiB", size)
	}
}
