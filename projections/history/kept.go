package history

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// kept are the blocks that were read last, as they are decompressed. A block is found by any position within it, so the engine is not
// asked where a block ends that is kept. The zero value is empty.
//
// INVARIANT: the blocks of a folder, and of what is young, do not overlap, and never change. So a kept block that begins at or before a
// position, and ends at or after it, is the one that has the position if any block has it.
type kept struct {
	mu   sync.RWMutex
	list []*keptBlock // in the order of their positions
	hand int          // where the search for a block to let go of goes on
}

type keptBlock struct {
	*block
	used atomic.Bool // since the hand passed over it
}

// keptBlocks is how many blocks are kept: 16 MiB.
const keptBlocks = 16 << 20 / blockBytes

// holding is the block around a position; nil: it is not kept.
func (k *kept) holding(p eventstore.Position) *block {
	k.mu.RLock()
	defer k.mu.RUnlock()
	i := k.search(p)
	if i == len(k.list) || k.list[i].first() > p {
		return nil
	}
	if b := k.list[i]; !b.used.Load() {
		b.used.Store(true)
	}
	return k.list[i].block
}

// search is the index of the first block that ends at or after a position.
func (k *kept) search(p eventstore.Position) int {
	return sort.Search(len(k.list), func(i int) bool { return k.list[i].last() >= p })
}

// keep keeps a block, and lets go of one that was not used for long if there are too many.
func (k *kept) keep(b *block) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.search(b.last()); i < len(k.list) && k.list[i].last() == b.last() { // another reader was quicker
		return
	}
	for len(k.list) >= keptBlocks {
		if k.hand %= len(k.list); k.list[k.hand].used.Swap(false) {
			k.hand++
			continue
		}
		k.list = slices.Delete(k.list, k.hand, k.hand+1)
	}
	i := k.search(b.last())
	k.list = slices.Insert(k.list, i, &keptBlock{block: b})
	if i <= k.hand {
		k.hand++
	}
}
