package sparse

import (
	"testing"

	"pgregory.net/rapid"
)

// item is an item whose key has few hashes, or many.
type item struct {
	key  int
	hash uint32
}

func (i *item) Hash() uint32    { return i.hash }
func (i *item) Is(key int) bool { return i.key == key }

// Whatever comes and goes, a table finds what a map would, also where keys have the same hash. At most three quarters of its slots
// are used, and a large one at least a quarter.
func TestATableIsAsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := Table[int, item, *item]{Marked: rapid.Bool().Draw(t, "marked")}
		want := map[int]*item{}
		hashes := rapid.SampledFrom([]uint32{1, 3, 1 << 20}).Draw(t, "hashes")
		keys := rapid.SampledFrom([]int{5, 20, 300}).Draw(t, "keys")
		if rapid.Bool().Draw(t, "sized") {
			table.Resize(keys)
		}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			key := rapid.IntRange(0, keys-1).Draw(t, "key")
			hash := uint32(key) % hashes
			switch p := table.Find(hash, key); {
			case p != want[key]:
				t.Fatalf("%d is %v, want %v", key, p, want[key])
			case p != nil:
				table.Remove(p)
				delete(want, key)
				if len(table.slots) > leastShrunk && 4*table.used < len(table.slots) {
					t.Fatalf("%d of %d slots are used", table.used, len(table.slots))
				}
			default:
				want[key] = &item{key, hash}
				table.Add(want[key])
			}
			if table.Len() != len(want) || 4*table.used > 3*len(table.slots) {
				t.Fatalf("%d of %d slots are used for %d items", table.used, len(table.slots), len(want))
			}
		}
		for key := range keys {
			if p := table.Find(uint32(key)%hashes, key); p != want[key] {
				t.Fatalf("%d is %v, want %v", key, p, want[key])
			}
		}
		all := map[int]*item{}
		for p := range table.All() {
			all[p.key] = p
		}
		if len(all) != len(want) {
			t.Fatalf("all are %v, want %v", all, want)
		}
		for key, p := range all {
			if p != want[key] {
				t.Fatalf("%d is %v among all, want %v", key, p, want[key])
			}
		}
	})
}
