package history

import (
	"errors"
	"slices"

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

// postings is the list of a term's positions: what is young from memory, and the rest from the engine, which is not asked
// before a seek needs it.
type postings struct {
	x      *index
	term   term
	newest bool // the direction is down: newest first
	lives  bool // of an instance: only the events of isLife
	young  []eventstore.Position
	base   eventstore.Position // the engine's positions are up to here

	it    *pebble.Iterator
	block []eventstore.Position // the block that was read last
	err   error
}

func (x *index) listOf(t term, newest bool) *postings {
	l := &postings{x: x, term: t.clean(), newest: newest}
	l.base, l.young = x.young.positions(l.term)
	if t.prefix == rangeInstance {
		l.young = unmarked(slices.Clone(l.young), false)
	}
	return l
}

// livesOf is the list of an instance's events of isLife.
func (x *index) livesOf(instance string, newest bool) *postings {
	l := &postings{x: x, term: term{prefix: rangeInstance, name: instance}.clean(), newest: newest, lives: true}
	l.base, l.young = x.young.positions(l.term)
	l.young = unmarked(slices.Clone(l.young), true)
	return l
}

func (l *postings) close() error {
	if l.it != nil {
		l.err = errors.Join(l.err, l.it.Close())
	}
	return l.err
}

func (l *postings) seek(p eventstore.Position) (eventstore.Position, bool) {
	if l.newest {
		if n := upTo(l.young, p); n > 0 {
			return l.young[n-1], true
		}
		return l.seekEngine(min(p, l.base))
	}
	if p <= l.base {
		if at, ok := l.seekEngine(p); ok || l.err != nil {
			return at, ok
		}
	}
	if i := after(l.young, p); i < len(l.young) {
		return l.young[i], true
	}
	return 0, false
}

// seekEngine is seek among the positions that the engine has.
func (l *postings) seekEngine(p eventstore.Position) (eventstore.Position, bool) {
	if at, ok := l.within(p); ok {
		return at, true
	}
	for ok := l.place(p); l.read(ok); ok = l.step() {
		if at, ok := l.within(p); ok {
			return at, true
		}
	}
	return 0, false
}

// place moves the iterator to the first block, in the list's direction, that may have p or a position behind it.
func (l *postings) place(p eventstore.Position) bool {
	if l.it == nil {
		// A block ends at or before base, because the engine gets all that is young at once.
		bounds := l.term.appendKey(make([]byte, 0, 2*len(l.term.name)+20), 0)
		lower := len(bounds)
		bounds = l.term.appendKey(bounds, uint64(l.base)+1)
		it, err := l.x.db.NewIter(&pebble.IterOptions{LowerBound: bounds[:lower:lower], UpperBound: bounds[lower:]})
		if err != nil {
			l.err = err
			return false
		}
		l.it = it
		if l.newest && p == l.base { // the iterator's bound
			return it.Last()
		}
	} else if !l.newest && l.it.Next() && tail(l.it.Key()) >= uint64(p) { // often the next block has it
		return true
	}
	// The block that may hold p is the first whose last position is not below it.
	ok := l.it.SeekGE(l.term.key(uint64(p)))
	if !ok && l.newest {
		ok = l.it.Last()
	}
	return ok
}

// step moves the iterator to the next block in the list's direction.
func (l *postings) step() bool {
	if l.newest {
		return l.it.Prev()
	}
	return l.it.Next()
}

// read decodes the block at the iterator; false: there is none, or it cannot be read.
func (l *postings) read(ok bool) bool {
	l.block = l.block[:0]
	if l.err != nil {
		return false
	}
	if l.err = l.it.Error(); !ok || l.err != nil {
		return false
	}
	v, err := l.x.db.Value(l.it)
	if l.err = err; err != nil {
		return false
	}
	l.block, l.err = readList(l.term.prefix, eventstore.Position(tail(l.it.Key())), v, l.block)
	if l.err == nil && l.term.prefix == rangeInstance {
		l.block = unmarked(l.block, l.lives)
	}
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
		return l.block[upTo(l.block, p)-1], true
	case !l.newest && l.block[n-1] >= p:
		return l.block[after(l.block, p)], true
	}
	return 0, false
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
