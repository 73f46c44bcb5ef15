package sparse_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// Whatever the hashes of items are, an index finds the items that were added, and no other.
func TestAnIndexFindsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.Uint32Max(rapid.SampledFrom([]uint32{0, 3, 1 << 10, 1<<32 - 1}).Draw(t, "most")) // hashes that are the same for many
		var index sparse.Index
		if rapid.Bool().Draw(t, "next") {
			for number := range rapid.IntRange(0, 300).Draw(t, "before") {
				index.Add(few.Draw(t, "hash before"), number)
			}
			index = index.Next()
		}
		var hashes []uint32
		for range rapid.IntRange(0, 300).Draw(t, "items") {
			hash := few.Draw(t, "hash")
			index.Add(hash, len(hashes))
			hashes = append(hashes, hash)
		}
		for number, hash := range hashes {
			if found, ok := index.Find(hash, func(n int) bool { return n == number }); !ok || found != number {
				t.Fatalf("item %d is found as %d, %t", number, found, ok)
			}
		}
		sought := few.Draw(t, "sought")
		_, ok := index.Find(sought, func(n int) bool {
			if hashes[n] != sought {
				t.Fatalf("an item with the hash %d was looked at for %d", hashes[n], sought)
			}
			return false
		})
		if ok {
			t.Fatal("an item was found that is none")
		}
	})
}
