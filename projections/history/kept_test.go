package history_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/history"
)

// Whichever blocks are kept, a position is found in the block that has it, or not at all, and no more blocks are kept than may be.
func TestAKeptBlockIsFoundByAnyOfItsPositions(t *testing.T) {
	kept := history.NewKept()
	var readers sync.WaitGroup
	for reader := range uint64(3) {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(19, reader))
			for range 3 * history.KeptBlocks {
				n := rng.Uint64N(2 * history.KeptBlocks) // a block of the positions from 100n up to 100n+50
				kept.Keep(100*n, 100*n+50)
				p := rng.Uint64N(200 * history.KeptBlocks)
				first, last, ok := kept.Holding(p)
				if within := p%100 <= 50; ok && (!within || first != p-p%100 || last != first+50) {
					t.Errorf("position %d is found in the block from %d up to %d", p, first, last)
				}
			}
		})
	}
	readers.Wait()
	if n := kept.Len(); n != history.KeptBlocks {
		t.Errorf("%d blocks are kept, want %d", n, history.KeptBlocks)
	}
	kept.Keep(75, 75)
	if _, _, ok := kept.Holding(75); !ok {
		t.Error("the block that was kept last is not found")
	}
}
