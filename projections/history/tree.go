package history

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

type hash = tlog.Hash

// ErrNoSuchTree refuses a proof about more events than there are.
var ErrNoSuchTree = errors.New("the tree has not so many leaves")

// tree is the Merkle tree (RFC 6962) over the canonical lifecycle events, in position order. It is
// used by the applying goroutine.
type tree struct {
	h     *History
	size  int64
	fresh map[int64]hash // stored by index, as far as they are young: what the next leaf needs is here
}

func (t *tree) add(b *pebble.Batch, canonical []byte) error {
	stored, err := tlog.StoredHashes(t.size, canonical, t)
	if err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	index := tlog.StoredHashCount(t.size)
	for i := range stored {
		_ = b.Set(key64(rangeHash, uint64(index)), stored[i][:], nil)
		t.fresh[index] = stored[i]
		index++
	}
	t.size++
	return nil
}

// ReadHashes implements tlog.HashReader for the hashes to the left of the newest leaf.
func (t *tree) ReadHashes(indexes []int64) ([]hash, error) {
	hashes := make([]hash, len(indexes))
	for i, index := range indexes {
		if fresh, ok := t.fresh[index]; ok {
			hashes[i] = fresh
			continue
		}
		stored, err := t.h.readHash(index)
		if err != nil {
			return nil, err
		}
		hashes[i] = stored
		t.fresh[index] = stored
	}
	return hashes, nil
}

// committed says that all of fresh is on disk, so that some may be forgotten.
func (t *tree) committed() {
	if len(t.fresh) > 1<<14 {
		clear(t.fresh)
	}
}

func (h *History) readHash(index int64) (hash, error) {
	v, err := h.get(key64(rangeHash, uint64(index)))
	if err != nil {
		return hash{}, err
	}
	if len(v) != tlog.HashSize {
		return hash{}, fmt.Errorf("tree: hash %d is missing or damaged", index)
	}
	return hash(v), nil
}

// ReadHashes implements tlog.HashReader on what is on disk.
func (h *History) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]hash, len(indexes))
	for i, index := range indexes {
		var err error
		if hashes[i], err = h.readHash(index); err != nil {
			return nil, err
		}
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
	return tlog.TreeHash(leaves, h)
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
	return tlog.ProveRecord(leaves, leaf, h)
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
	return tlog.ProveTree(leaves, first, h)
}

// LeafHashes are the hashes of the leaves from one to before another, as they were when they were
// added.
func (h *History) LeafHashes(from, to int64) ([]tlog.Hash, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	if from < 0 || to > h.Leaves() {
		return nil, ErrNoSuchTree
	}
	hashes := make([]hash, 0, max(to-from, 0))
	for leaf := from; leaf < to; leaf++ {
		stored, err := h.readHash(tlog.StoredHashIndex(0, leaf))
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, stored)
	}
	return hashes, nil
}

// HashEvent is an event's leaf.
func HashEvent(e *eventstore.RecordedEvent) tlog.Hash {
	return tlog.RecordHash(eventstore.AppendCanonical(nil, e))
}
