package history

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/disposable"
)

type hash = tlog.Hash

// ErrNoSuchTree refuses a proof about more events than there are.
var ErrNoSuchTree = errors.New("the tree has not so many leaves")

// The leaves are stored in full blocks of 256. The hashes between the leaves of a block and its root are computed when they
// are needed. The leaves of the last block, which is not full, are kept in memory and computed from the entries at a start.
// So an event costs one hash and hardly any writes.
const (
	blockLevel  = 8
	blockLeaves = 1 << blockLevel
)

// tree is the Merkle tree (RFC 6962) over the canonical audited events, in position order. The goroutine that applies events
// adds leaves; any goroutine reads.
//
// INVARIANT: a block or hash is in memory until its batch is committed, so a reader finds it in memory or in the engine. Leaves
// of a block never change.
type tree struct {
	db    *disposable.DB
	size  int64  // number of leaves; only the goroutine that applies events uses it
	value []byte // buffer of that goroutine

	keep bool // the hashes that later ones need stay in memory: the engine may not have them yet, as in a rebuild

	mu      sync.RWMutex
	growing []hash           // the last block; it is full until the next leaf comes
	last    int64            // number of the last block
	blocks  map[int64][]hash // by number: full blocks that are not committed yet
	upper   map[int64]hash   // by stored index: roots of blocks and hashes above them that are not committed yet
}

// load reads the leaves of the last block from the entries.
func (t *tree) load(x *index, size int64) error {
	t.db, t.size = x.db, size
	t.blocks, t.upper = make(map[int64][]hash), make(map[int64]hash)
	missing := int(size % blockLeaves)
	entries := x.entries()
	defer entries.close()
	leaves := make([]hash, missing, blockLeaves)
	before := ^eventstore.Position(0)
	for i := missing - 1; i >= 0; i-- {
		e, ok, err := entries.upTo(before)
		if err != nil {
			return err
		}
		if !ok || e.position == 0 {
			return staleError("entries are missing")
		}
		leaves[i], before = tlog.RecordHash(e.canonical), e.position-1
	}
	t.growing, t.last = leaves, size/blockLeaves
	return nil
}

// add adds the leaves of drafts, and puts the blocks that they fill into the batch.
func (t *tree) add(b batch, list []draft) error {
	for len(list) > 0 {
		n := min(len(list), blockLeaves-int(t.size%blockLeaves))
		number := t.size / blockLeaves
		t.mu.Lock()
		if len(t.growing) == blockLeaves {
			t.growing = make([]hash, 0, blockLeaves) // readers may still have the other
		}
		for i := range list[:n] {
			t.growing = append(t.growing, list[i].hash)
		}
		t.last = number
		block := t.growing
		if len(block) == blockLeaves {
			t.blocks[number] = block
		}
		t.mu.Unlock()
		t.size += int64(n)
		list = list[n:]
		if len(block) < blockLeaves {
			return nil
		}
		if err := t.addBlock(b, number, block); err != nil {
			return err
		}
	}
	return nil
}

// addBlock puts a full block, and the hashes above it that it completes, into the batch.
func (t *tree) addBlock(b batch, number int64, block []hash) error {
	t.value = t.value[:0]
	for i := range block {
		t.value = append(t.value, block[i][:]...)
	}
	if err := b.Set(key64(rangeBlock, uint64(number)), t.value, nil); err != nil {
		return err
	}
	return t.addUpper(b, number, subtree(block))
}

// addUpper puts a full block's root, and the hashes above that it completes, into the batch.
func (t *tree) addUpper(b batch, n int64, root hash) error {
	for level := blockLevel; ; level++ {
		index := tlog.StoredHashIndex(level, n)
		if err := b.Set(key64(rangeHash, uint64(index)), root[:], nil); err != nil {
			return err
		}
		t.mu.Lock()
		t.upper[index] = root
		t.mu.Unlock()
		if n%2 == 0 {
			return nil
		}
		left, err := t.readUpper(tlog.StoredHashIndex(level, n-1))
		if err != nil {
			return err
		}
		if t.keep {
			delete(t.upper, tlog.StoredHashIndex(level, n-1))
			delete(t.upper, index)
		}
		n, root = n/2, tlog.NodeHash(left, root)
	}
}

// committed notes that all added leaves are committed. The block that is not full stays in memory.
func (t *tree) committed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.upper) == 0 {
		return
	}
	if !t.keep {
		clear(t.upper)
	}
	clear(t.blocks)
}

// subtree is the root over hashes. REQUIRES: their number is a power of two.
func subtree(hashes []hash) hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(subtree(hashes[:half]), subtree(hashes[half:]))
}

// block gives the leaves of a block.
func (t *tree) block(number int64) ([]hash, error) {
	t.mu.RLock()
	young, ok := t.blocks[number]
	if !ok && number == t.last && len(t.growing) < blockLeaves {
		young, ok = t.growing, true
	}
	t.mu.RUnlock()
	if ok {
		return young, nil
	}
	v, err := t.db.Fetch(key64(rangeBlock, uint64(number)))
	if err != nil {
		return nil, err
	}
	if len(v) != blockLeaves*tlog.HashSize {
		return nil, fmt.Errorf("tree: block %d is missing or damaged", number)
	}
	leaves := make([]hash, blockLeaves)
	for i := range leaves {
		copy(leaves[i][:], v[i*tlog.HashSize:])
	}
	return leaves, nil
}

func (t *tree) readUpper(index int64) (hash, error) {
	t.mu.RLock()
	young, ok := t.upper[index]
	t.mu.RUnlock()
	if ok {
		return young, nil
	}
	v, err := t.db.Fetch(key64(rangeHash, uint64(index)))
	if err != nil {
		return hash{}, err
	}
	if len(v) != tlog.HashSize {
		return hash{}, fmt.Errorf("tree: hash %d is missing or damaged", index)
	}
	return hash(v), nil
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]hash, error) {
	hashes := make([]hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if level >= blockLevel {
			var err error
			if hashes[i], err = t.readUpper(index); err != nil {
				return nil, err
			}
			continue
		}
		first := n << level // leaf
		leaves, err := t.block(first / blockLeaves)
		if err != nil {
			return nil, err
		}
		from := int(first % blockLeaves)
		if from+1<<level > len(leaves) {
			return nil, ErrNoSuchTree
		}
		hashes[i] = subtree(leaves[from : from+1<<level])
	}
	return hashes, nil
}

// Leaves is the number of events in the tree.
func (h *History) Leaves() int64 { return h.leaves.Load() }

// Root is the hash of the tree over the first events.
func (h *History) Root(leaves int64) (tlog.Hash, error) {
	if err := h.enter(); err != nil {
		return hash{}, err
	}
	defer h.leave()
	if leaves < 0 || leaves > h.Leaves() {
		return hash{}, ErrNoSuchTree
	}
	return tlog.TreeHash(leaves, &h.tree)
}

// ProveInclusion proves that an event is a leaf of the tree over the first events.
func (h *History) ProveInclusion(leaves, leaf int64) (tlog.RecordProof, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	if leaves > h.Leaves() || leaf < 0 || leaf >= leaves {
		return nil, ErrNoSuchTree
	}
	return tlog.ProveRecord(leaves, leaf, &h.tree)
}

// ProveConsistency proves that the tree over the first events has not changed in the larger one.
func (h *History) ProveConsistency(leaves, first int64) (tlog.TreeProof, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	if leaves > h.Leaves() || first < 1 || first > leaves {
		return nil, ErrNoSuchTree
	}
	return tlog.ProveTree(leaves, first, &h.tree)
}

// LeafHashes are the hashes of the leaves from from up to, but not including, to, as they were when they were added.
func (h *History) LeafHashes(from, to int64) ([]tlog.Hash, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	if from < 0 || to > h.Leaves() {
		return nil, ErrNoSuchTree
	}
	hashes := make([]hash, 0, max(to-from, 0))
	for leaf := from; leaf < to; {
		block, err := h.tree.block(leaf / blockLeaves)
		if err != nil {
			return nil, err
		}
		begin := leaf % blockLeaves
		part := block[begin:min(begin+to-leaf, int64(len(block)))]
		hashes = append(hashes, part...)
		leaf += int64(len(part))
	}
	return hashes, nil
}

// HashEvent is the leaf of an event.
func HashEvent(e *eventstore.RecordedEvent) tlog.Hash {
	return tlog.RecordHash(eventstore.AppendCanonical(nil, e))
}
