package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// block is a run of entries: audited events in canonical form, in position order, whose leaves are neighbours in the tree. An
// entry that had a key of its own would cost more for the key than for its bytes, in memory and at each rewriting (ADR 063).
//
// INVARIANT: entries are only appended, so a copy of a block stays as it is while the original grows. A block that is full does
// not change.
type block struct {
	leaf      int64 // number of the first entry's leaf
	positions []eventstore.Position
	ends      []uint32 // where each event ends in data
	data      []byte
}

// A block is full at whichever limit it reaches first.
const (
	blockEntries = 64
	blockBytes   = 16 << 10
)

// maxBlock is above all lengths of blocks: a block has at most blockBytes and one event.
const maxBlock = 1 << 30

func (b *block) full() bool { return len(b.positions) >= blockEntries || len(b.data) >= blockBytes }

func (b *block) first() eventstore.Position { return b.positions[0] }
func (b *block) last() eventstore.Position  { return b.positions[len(b.positions)-1] }

// at is the ith entry.
func (b *block) at(i int) stored {
	begin := uint32(0)
	if i > 0 {
		begin = b.ends[i-1]
	}
	return stored{position: b.positions[i], leaf: b.leaf + int64(i), canonical: b.data[begin:b.ends[i]:b.ends[i]]}
}

// search is the index of the first entry at or after a position.
func (b *block) search(p eventstore.Position) int { return after(b.positions, p) }

// stored is an entry as a block has it.
type stored struct {
	position  eventstore.Position
	leaf      int64
	canonical []byte
}

// pack is the block's stored form. The key has the position of the last entry. A block is compressed here, once, for the
// engine would do so at each rewriting.
//
// scratch is a buffer of which the caller gets the larger one back, so that the memory for a block that cannot be compressed is
// not taken for each block.
func (b *block) pack(scratch []byte) (packed, _ []byte) {
	v := appendHead(scratch[:0], b.leaf, b.positions, 0, b.ends)
	v = compress(v, b.data)
	return bytes.Clone(v), v
}

// appendHead appends what the stored form of a block has before the compressed events. The events begin at begin, and end at ends.
func appendHead[O int | uint32](v []byte, leaf int64, positions []eventstore.Position, begin O, ends []O) []byte {
	v = binary.AppendUvarint(v, uint64(len(positions)))
	v = binary.AppendUvarint(v, uint64(leaf))
	v = binary.AppendUvarint(v, uint64(positions[len(positions)-1]-positions[0]))
	for i := 1; i < len(positions); i++ {
		v = binary.AppendUvarint(v, uint64(positions[i]-positions[i-1]))
	}
	for _, end := range ends {
		v = binary.AppendUvarint(v, uint64(end-begin))
		begin = end
	}
	return v
}

// compress appends the compressed form of data.
func compress(v, data []byte) []byte {
	v = slices.Grow(v, s2.MaxEncodedLen(len(data)))
	return v[:len(v)+len(s2.Encode(v[len(v):cap(v)], data))]
}

// unpack reads what pack made.
func unpack(last eventstore.Position, v []byte) (*block, error) {
	r := packed.Reader{B: v}
	n, leaf, span := r.Uvarint(), r.Uvarint(), r.Uvarint()
	if r.Failed || n == 0 || n > uint64(len(v)) || span > uint64(last) {
		return nil, damagedBlock(last, nil)
	}
	b := &block{leaf: int64(leaf), positions: make([]eventstore.Position, 0, n), ends: make([]uint32, 0, n)}
	p := last - eventstore.Position(span)
	for i := range n {
		if i > 0 {
			p += eventstore.Position(r.Uvarint())
		}
		b.positions = append(b.positions, p)
	}
	end := uint64(0)
	for range n {
		end += r.Uvarint()
		b.ends = append(b.ends, uint32(end))
	}
	size, err := s2.DecodedLen(r.B)
	if r.Failed || err != nil || p != last || !slices.IsSorted(b.positions) || end != uint64(size) || !slices.IsSorted(b.ends) || size > maxBlock {
		return nil, damagedBlock(last, err)
	}
	if b.data, err = s2.Decode(make([]byte, 0, size), r.B); err != nil {
		return nil, damagedBlock(last, err)
	}
	return b, nil
}

func damagedBlock(last eventstore.Position, cause error) error {
	return errors.Join(fmt.Errorf("history: the entries at position %d are damaged", last), cause)
}
