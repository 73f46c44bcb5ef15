package history

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// list is a sequence of positions in one direction, up or down. A seek passes over positions without reading them.
type list interface {
	// seek gives the first position at or after p in the list's direction. ok is false when there is none, or when
	// reading failed. REQUIRES: p is not before the p of an earlier seek, in the list's direction.
	seek(p eventstore.Position) (at eventstore.Position, ok bool)
	close() error // gives the error because of which reading failed
}

// postings is the list of a term's positions.
type postings struct {
	it     *pebble.Iterator
	prefix []byte                // of the term's keys
	newest bool                  // the direction is down: newest first
	block  []eventstore.Position // the block that was read last
	err    error
}

func (x *index) listOf(t term, newest bool) (list, error) {
	name := indexName(t.name)
	lower, upper := indexKey(t.prefix, name, 0), append(indexKey(t.prefix, name, ^uint64(0)), 0)
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	return &postings{it: it, prefix: lower[:len(lower)-8], newest: newest}, nil
}

func (l *postings) close() error {
	err := l.it.Close()
	if l.err == nil {
		l.err = err
	}
	return l.err
}

func (l *postings) seek(p eventstore.Position) (eventstore.Position, bool) {
	if at, ok := l.within(p); ok {
		return at, true
	}
	// The block that may hold p is the first whose last position is not below it: often the next one.
	if !l.newest && len(l.block) > 0 && l.it.Next() && tail(l.it.Key()) >= uint64(p) {
		if !l.read(true) {
			return 0, false
		}
		return l.within(p)
	}
	key := append(slices.Clone(l.prefix), key64(0, uint64(p))[1:]...)
	ok := l.it.SeekGE(key)
	if !ok && l.newest {
		ok = l.it.Last()
	}
	if !l.read(ok) {
		return 0, false
	}
	if at, ok := l.within(p); ok {
		return at, true
	}
	if !l.newest || !l.read(l.it.Prev()) {
		return 0, false
	}
	return l.within(p)
}

// read decodes the block at the iterator; false: there is none, or it cannot be read.
func (l *postings) read(ok bool) bool {
	l.block = l.block[:0]
	l.err = l.it.Error()
	if !ok || l.err != nil {
		return false
	}
	l.block, l.err = readPostings(eventstore.Position(tail(l.it.Key())), l.it.Value(), l.block)
	return l.err == nil
}

// within seeks in the block that was read last; false: another block must be read.
//
// INVARIANT: upwards, every block before this one ends before the position of the last seek, so this block has the answer
// if its last position is at or after p. Downwards, every block after this one begins above the position of the last seek,
// so this block has the answer if its first position is at or below p.
func (l *postings) within(p eventstore.Position) (eventstore.Position, bool) {
	n := len(l.block)
	switch {
	case n == 0:
		return 0, false
	case l.newest && l.block[0] <= p:
		return l.block[sort.Search(n, func(i int) bool { return l.block[i] > p })-1], true
	case !l.newest && l.block[n-1] >= p:
		return l.block[sort.Search(n, func(i int) bool { return l.block[i] >= p })], true
	}
	return 0, false
}

// everything is the list of all entries.
type everything struct {
	it     *pebble.Iterator
	newest bool
}

func (x *index) everything(newest bool) (*everything, error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: key64(rangeEntry, 0), UpperBound: key64(rangeEntry+1, 0)})
	return &everything{it, newest}, err
}

// raw is the entry at a position as it is stored. It is valid until the next call.
func (l *everything) raw(p eventstore.Position) ([]byte, error) {
	if at, ok := l.seek(p); !ok || at != p {
		return nil, errors.Join(fmt.Errorf("history: the entry at position %d is missing", p), l.it.Error())
	}
	return l.it.Value(), nil
}

func (l *everything) close() error { return l.it.Close() }

func (l *everything) seek(p eventstore.Position) (eventstore.Position, bool) {
	// There is no entry between two neighbours, so the next entry is the answer if it is not before p.
	ok := false
	switch valid := l.it.Valid(); {
	case valid && tail(l.it.Key()) == uint64(p):
		ok = true
	case l.newest:
		ok = valid && l.it.Prev() && tail(l.it.Key()) <= uint64(p) || l.it.SeekLT(append(entryKey(p), 0))
	default:
		ok = valid && l.it.Next() && tail(l.it.Key()) >= uint64(p) || l.it.SeekGE(entryKey(p))
	}
	if !ok {
		return 0, false
	}
	return eventstore.Position(tail(l.it.Key())), true
}

// anyOf is the list of the positions that are in any of several lists.
type anyOf struct {
	lists  []list
	newest bool
}

func (l anyOf) seek(p eventstore.Position) (best eventstore.Position, found bool) {
	for _, of := range l.lists {
		if at, ok := of.seek(p); ok && (!found || l.newest && at > best || !l.newest && at < best) {
			best, found = at, true
		}
	}
	return best, found
}

func (l anyOf) close() (err error) {
	for _, of := range l.lists {
		if e := of.close(); err == nil {
			err = e
		}
	}
	return err
}
