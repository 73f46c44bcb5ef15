package history

import (
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// entries reads entries in any order: those that are young from memory, and the others from the engine, which is not asked
// before an entry is needed that is not young.
type entries struct {
	x    *index
	base eventstore.Position // the engine's entries are up to here
	full []packedBlock       // the blocks after base
	last block

	it    *pebble.Iterator
	block *block // the block that was read last; nil: none was
	moved bool   // the iterator is at block
}

func (x *index) entries() *entries {
	e := &entries{x: x}
	e.base, e.full, e.last = x.young.blocks()
	return e
}

func (e *entries) close() error {
	if e.it == nil {
		return nil
	}
	return e.it.Close()
}

// get is the entry at a position.
func (e *entries) get(p eventstore.Position) (stored, error) {
	found, ok, err := e.from(p)
	if err == nil && (!ok || found.position != p) {
		err = fmt.Errorf("history: the entry at position %d is missing", p)
	}
	return found, err
}

// from is the first entry at or after a position; ok is false when there is none.
func (e *entries) from(p eventstore.Position) (found stored, ok bool, err error) {
	if b := e.block; b != nil && b.first() <= p && p <= b.last() {
		return b.at(b.search(p)), true, nil
	}
	if e.found(p) {
		return e.block.at(e.block.search(p)), true, nil
	}
	if p <= e.base {
		next := e.moved && p > e.block.last() // then the next block is often the one
		ok, err := e.read(func(it *pebble.Iterator) bool {
			return next && it.Next() && tail(it.Key()) >= uint64(p) || it.SeekGE(entryKey(p))
		})
		if err != nil {
			return found, false, err
		}
		if ok {
			return e.block.at(e.block.search(p)), true, nil
		}
	}
	if i := sort.Search(len(e.full), func(i int) bool { return e.full[i].last >= p }); i < len(e.full) {
		if err := e.open(e.full[i]); err != nil {
			return found, false, err
		}
		return e.block.at(e.block.search(p)), true, nil
	}
	if i := e.last.search(p); i < len(e.last.positions) {
		return e.last.at(i), true, nil
	}
	return found, false, nil
}

// upTo is the last entry at or before a position; ok is false when there is none.
func (e *entries) upTo(p eventstore.Position) (found stored, ok bool, err error) {
	if b := &e.last; len(b.positions) > 0 && b.first() <= p {
		return b.at(b.searchBack(p)), true, nil
	}
	if b := e.block; b != nil && b.first() <= p && p <= b.last() {
		return b.at(b.searchBack(p)), true, nil
	}
	if n := sort.Search(len(e.full), func(i int) bool { return e.full[i].first > p }); n > 0 {
		if err := e.open(e.full[n-1]); err != nil {
			return found, false, err
		}
		return e.block.at(e.block.searchBack(p)), true, nil
	}
	if p = min(p, e.base); e.found(p) {
		return e.block.at(e.block.searchBack(p)), true, nil
	}
	ok, err = e.read(func(it *pebble.Iterator) bool { return it.SeekGE(entryKey(p)) || it.Last() })
	if ok && e.block.first() > p {
		ok, err = e.read((*pebble.Iterator).Prev)
	}
	if !ok || err != nil {
		return found, false, err
	}
	return e.block.at(e.block.searchBack(p)), true, nil
}

// found says whether the block around a position is kept, and makes it the block.
func (e *entries) found(p eventstore.Position) bool {
	b := e.x.kept.holding(p)
	if b == nil {
		return false
	}
	e.block, e.moved = b, false
	return true
}

// searchBack is the index of the last entry at or before a position. REQUIRES: there is one.
func (b *block) searchBack(p eventstore.Position) int { return upTo(b.positions, p) - 1 }

// open reads a young block.
func (e *entries) open(p packedBlock) (err error) {
	e.moved = false
	e.block, err = e.x.unpacked(p.last, func() ([]byte, error) { return p.v, nil })
	return err
}

// read moves the iterator of the engine's blocks and reads the block there; false: there is none.
func (e *entries) read(move func(it *pebble.Iterator) bool) (ok bool, err error) {
	e.block, e.moved = nil, false
	if e.it == nil {
		// A block ends at or before base, because the engine gets all that is young at once.
		if e.it, err = e.x.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(0), UpperBound: entryKey(e.base + 1)}); err != nil {
			return false, err
		}
	}
	if !move(e.it) {
		return false, e.it.Error()
	}
	if e.block, err = e.x.unpacked(eventstore.Position(tail(e.it.Key())), func() ([]byte, error) { return e.x.db.Value(e.it) }); err != nil {
		return false, err
	}
	e.moved = true
	return true, nil
}

// unpacked is the block that ends at a position, if it is kept, or from its stored form.
func (x *index) unpacked(last eventstore.Position, stored func() ([]byte, error)) (*block, error) {
	if b := x.kept.holding(last); b != nil {
		return b, nil
	}
	v, err := stored()
	if err != nil {
		return nil, err
	}
	b, err := unpack(last, v)
	if err == nil {
		x.kept.keep(b)
	}
	return b, err
}

// everything is the list of all entries.
type everything struct {
	entries *entries
	newest  bool
	err     error
}

func (l *everything) seek(p eventstore.Position) (eventstore.Position, bool) {
	if l.err != nil {
		return 0, false
	}
	look := l.entries.from
	if l.newest {
		look = l.entries.upTo
	}
	found, ok, err := look(p)
	l.err = err
	return found.position, ok && err == nil
}

func (l *everything) close() error {
	if err := l.entries.close(); l.err == nil {
		l.err = err
	}
	return l.err
}
