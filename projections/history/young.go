package history

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// young is what has been applied and is not in the engine yet. Entries and lists stay here until there are enough of them, so
// that a block is full and a list has many positions.
//
// INVARIANT: the engine has the entries up to base, and young has all later ones. The goroutine that applies events moves base
// when the engine has what was young. So a reader that takes base and what is young together, and reads from the engine
// afterwards, finds every entry once: up to base in the engine, and after base in what was young.
type young struct {
	mu    sync.RWMutex
	base  eventstore.Position
	full  []packedBlock
	block block // is not full
	lists lists
	bytes int

	// INVARIANT: block's memory is used for a later block only if shown was false when the block was full, so that no reader has it.
	shown atomic.Bool // a reader asked for block

	// Of the goroutine that applies events.
	scratch []byte // see pack
	free    block  // memory for the next block; empty: it needs new memory
}

// packedBlock is a block in its stored form.
type packedBlock struct {
	first, last eventstore.Position
	v           []byte
}

// add adds an entry, a canonical event with its terms and its subject. REQUIRES: only the goroutine that applies events calls add, and it has
// locked mu.
func (y *young) add(p eventstore.Position, leaf int64, canonical []byte, e *terms, s *subject) {
	b := y.block
	if len(b.positions) == 0 {
		b = y.next(leaf)
	}
	b.data, b.positions = append(b.data, canonical...), append(b.positions, p)
	b.ends = append(b.ends, uint32(len(b.data)))
	var full packedBlock
	if b.full() {
		full = packedBlock{first: b.first(), last: b.last()}
		full.v, y.scratch = b.pack(y.scratch)
	}
	if y.block = b; full.v != nil {
		if y.block = (block{}); !y.shown.Swap(false) {
			y.free = b
		}
		y.full = append(y.full, full)
		y.bytes += len(full.v)
	}
	y.note(p, e, s)
}

// next is an empty block.
func (y *young) next(leaf int64) block {
	b := y.free
	if y.free = (block{}); b.data == nil {
		b = block{positions: make([]eventstore.Position, 0, blockEntries), ends: make([]uint32, 0, blockEntries), data: make([]byte, 0, blockBytes+1<<10)}
	}
	return block{leaf: leaf, positions: b.positions[:0], ends: b.ends[:0], data: b.data[:0]}
}

// note adds an entry to the lists, but not to a block. REQUIRES: as add.
func (y *young) note(p eventstore.Position, e *terms, s *subject) {
	y.bytes += entryBytes
	y.lists.add(e, s, p)
}

// emptied notes that a batch has all blocks. REQUIRES: nobody reads, as in a rebuild.
func (y *young) emptied() { y.full, y.block = nil, block{} }

// written notes that the engine has everything up to base.
func (y *young) written(base eventstore.Position) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.base, y.full, y.block, y.bytes = base, nil, block{}, 0
	y.lists = y.lists.next()
}

// entryBytes is what the lists of an entry count for in bytes.
const entryBytes = 128

// blocks are the blocks of the entries after base.
func (y *young) blocks() (base eventstore.Position, full []packedBlock, last block) {
	y.mu.RLock()
	defer y.mu.RUnlock()
	y.shown.Store(true)
	return y.base, y.full, y.block
}

// positions is the list of a term after base.
func (y *young) positions(t term) (base eventstore.Position, list []eventstore.Position) {
	y.mu.RLock()
	defer y.mu.RUnlock()
	return y.base, y.lists.of(t)
}

// after is the index of the first position in a list at or after p.
func after(list []eventstore.Position, p eventstore.Position) int {
	return sort.Search(len(list), func(i int) bool { return list[i] >= p })
}

// upTo is how many positions of a list are at or before p.
func upTo(list []eventstore.Position, p eventstore.Position) int {
	return sort.Search(len(list), func(i int) bool { return list[i] > p })
}
