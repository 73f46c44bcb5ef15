package leases

import (
	"fmt"
	"testing"
	"unique"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

// Whatever comes and goes, a shard finds what a map would, also where keys have the same hash.
func TestAShardFindsWhatAMapWould(t *testing.T) {
	web := unique.Make(domain.ServiceKey{Namespace: "default", Service: "web"})
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
				l = &lease{service: web, hash: uint32(id) % hashes}
				l.named(fmt.Sprint(id))
				s.leases.Add(l)
				want[l.key().ID] = l
			} else {
				s.leases.Remove(l)
				delete(want, l.key().ID)
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
	if size := unsafe.Sizeof(lease{}); size > 96 {
		t.Errorf("a lease takes %d bytes, which are more than its size class had", size)
	}
}
