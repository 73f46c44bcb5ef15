package history

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/disposable"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// segmentEnds are the last positions of the segments that the engine has.
func (x *index) segmentEnds() (ends []eventstore.Position, err error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeSegment}, UpperBound: []byte{rangeSegment + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if tail(it.Key()) != uint64(len(ends)) || len(it.Value()) != 8 {
			return nil, staleError("its segments are damaged")
		}
		ends = append(ends, eventstore.Position(binary.BigEndian.Uint64(it.Value())))
	}
	return ends, it.Error()
}

// sealed reads the sections of segments that the engine had when it was made.
type sealed struct {
	db     *disposable.DB
	it     *pebble.Iterator
	had    int64 // how many segments the engine had at least
	prefix byte
	key    []byte // buffer
}

func (x *index) newSealed(prefix byte) (*sealed, error) {
	had := x.segments.sealed() // before the iterator is made, so that it finds them all
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	return &sealed{db: x.db, it: it, had: had, prefix: prefix}, err
}

func (s *sealed) close() error { return s.it.Close() }

// values yields the values of a segment from the one that may have a name on, in order, until yield gives false. A value is valid until yield
// returns.
func (s *sealed) values(number int64, from string, yield func(value []byte) (more bool, err error)) error {
	s.key = append(binary.BigEndian.AppendUint64(append(s.key[:0], s.prefix), uint64(number)), from...)
	of := s.key[:9]
	for ok := s.it.SeekGE(s.key); ok && string(s.it.Key()[:9]) == string(of); ok = s.it.Next() {
		v, err := s.db.Value(s.it)
		if err != nil {
			return err
		}
		if more, err := yield(v); err != nil || !more {
			return err
		}
	}
	return s.it.Error()
}

// get is the section of a name; nil: there is none.
func (s *sealed) get(number int64, name string) (section []byte, err error) {
	err = s.values(number, name, func(v []byte) (bool, error) {
		for r := (packed.Reader{B: v}); len(r.B) > 0; {
			found, of := r.Bytes(), r.Bytes()
			if r.Failed {
				return false, fmt.Errorf("history: a section of segment %d is damaged", number)
			}
			if string(found) >= name {
				if string(found) == name {
					section = of
				}
				break
			}
		}
		return false, nil
	})
	return section, err
}

// scopeCounts are the numbers of a scope's events in a segment.
type scopeCounts struct {
	types   []string
	numbers []int
	places  []byte // nil: they have a key of their own
}

func readCounts(section []byte) (c scopeCounts, err error) {
	damaged := errors.New("history: the numbers of a segment are damaged")
	r := packed.Reader{B: section}
	total := uint64(0)
	for n := r.Uvarint(); n > 0 && !r.Failed; n-- {
		name, number := r.Bytes(), r.Uvarint()
		c.types, c.numbers = append(c.types, string(name)), append(c.numbers, int(number))
		if total += number; number == 0 || number > maxBlock || total > maxBlock {
			return c, damaged
		}
	}
	if r.Failed {
		return c, damaged
	}
	if total <= placesInline {
		c.places = append([]byte{}, r.B...)
	}
	return c, nil
}

// eachPlace yields the position and the type of each event, until yield gives false.
func (c *scopeCounts) eachPlace(after eventstore.Position, yield func(p eventstore.Position, eventType int) bool) error {
	shift := typeBits(len(c.types))
	mask := uint64(1)<<shift - 1
	r := packed.Reader{B: c.places}
	p := after
	for len(r.B) > 0 {
		n := r.Uvarint()
		p += eventstore.Position(n >> shift)
		if r.Failed || int(n&mask) >= len(c.types) {
			return fmt.Errorf("history: the places after position %d are damaged", after)
		}
		if !yield(p, int(n&mask)) {
			return nil
		}
	}
	return nil
}

// placesOf are the numbers of a scope in a sealed segment, with the places; ok is false where the scope has no event there.
func (x *index) placesOf(s *sealed, number int64, scope string) (c scopeCounts, ok bool, err error) {
	section, err := s.get(number, scope)
	if err != nil || section == nil {
		return c, false, err
	}
	if c, err = readCounts(section); err != nil || c.places != nil {
		return c, err == nil, err
	}
	c.places, err = x.db.Fetch(segmentKey(rangePlaces, number, scope))
	return c, err == nil, err
}

// positionsOf are the positions of all entries of a segment.
func (x *index) positionsOf(number int64) (all []eventstore.Position, err error) {
	inMemory, after, _ := x.segments.at(number)
	if inMemory != nil {
		return inMemory.positions, nil
	}
	s, err := x.newSealed(rangeCounts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, _, err := x.placesOf(s, number, "")
	if err != nil {
		return nil, err
	}
	all = make([]eventstore.Position, 0, x.segments.size)
	err = c.eachPlace(after, func(p eventstore.Position, _ int) bool {
		all = append(all, p)
		return true
	})
	if err == nil && int64(len(all)) != x.segments.size {
		err = fmt.Errorf("history: segment %d is damaged", number)
	}
	return all, err
}
