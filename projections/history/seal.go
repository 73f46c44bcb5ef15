package history

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// sealedBytes is at how many bytes a value with the sections of a segment ends.
const sealedBytes = 4 << 10

// placesInline is up to how many entries the places of a scope stand in its section. The places of more have a key of their own.
const placesInline = 512

// seal puts a full segment into a batch: its last position, the steps of each instance, and the numbers of events by type of
// each scope. The keys of a segment are above those of the segments before it, so the engine hardly ever rewrites them. REQUIRES: mu is held.
//
// Sections stand in values in the order of their names, many in one. The key has the last name, so that a seek upwards finds the value
// with a name, which costs half of a seek downwards: sealed.go.
func (x *index) seal(b batch, s *segment) error {
	types, subjects := s.names.view()
	before := eventstore.Position(0)
	if s.number > 0 {
		_, _, before = x.segments.at(s.number - 1)
	}
	ordered := slices.Clone(subjects)
	x.order = byName(x.order, ordered, func(s *subject) string { return s.name })
	if err := x.sealSteps(b, s, ordered); err != nil {
		return err
	}
	if err := x.sealCounts(b, s, types, ordered, before); err != nil {
		return err
	}
	return b.Set(key64(rangeSegment, uint64(s.number)), binary.BigEndian.AppendUint64(nil, uint64(s.last())), nil)
}

// sealSteps writes the steps of the subjects, which are in the order of their names.
func (x *index) sealSteps(b batch, s *segment, subjects []*subject) error {
	ends := make([]int32, len(subjects)+1) // by place: first where the subject's entries begin in entries, then where they end
	for _, of := range s.subjects {
		ends[of+1]++
	}
	for i := range subjects {
		ends[i+1] += ends[i]
	}
	entries := make([]int32, len(s.subjects)) // by subject, in order
	for i, of := range s.subjects {
		entries[ends[of]] = int32(i)
		ends[of]++
	}
	w := &x.steps
	w.Begin(s.first(x.segments.size), s.steps)
	write := func() error {
		key := segmentKey(rangeSteps, s.number, w.Last())
		x.scratch = w.Append(x.scratch[:0])
		return b.Set(key, x.scratch, nil)
	}
	for _, subject := range subjects {
		if !subject.isInstance {
			continue
		}
		begin := int32(0)
		if subject.place > 0 {
			begin = ends[subject.place-1]
		}
		w.Add(subject.name, s.steps, entries[begin:ends[subject.place]])
		if w.Len() >= sealedBytes {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if w.Len() == 0 {
		return nil
	}
	return write()
}

// scope is everything (its name is empty), a namespace or a service.
type scope struct {
	name    string
	entries []uint32
}

// sealCounts writes the numbers of the scopes of the subjects, which are in the order of their names.
func (x *index) sealCounts(b batch, s *segment, types []string, subjects []*subject, before eventstore.Position) error {
	all := &scope{entries: make([]uint32, len(s.positions))}
	scopes := map[string]*scope{"": all}
	of := make([][2]*scope, len(subjects)) // by place: namespace and service; all: the subject belongs to none
	last := [2]*scope{all, all}            // of the subject before, which mostly belongs to the same
	for _, subject := range subjects {
		for i, name := range [...]string{subject.namespace(), subject.service()} {
			if last[i].name == name {
				continue
			}
			if last[i] = scopes[name]; last[i] == nil {
				last[i] = &scope{name: name}
				scopes[name] = last[i]
			}
		}
		of[subject.place] = last
	}
	for i, subject := range s.subjects {
		all.entries[i] = uint32(i)
		for _, scope := range of[subject] {
			if scope != all {
				scope.entries = append(scope.entries, uint32(i))
			}
		}
	}
	w := sections{batch: b, number: s.number}
	for _, name := range slices.Sorted(maps.Keys(scopes)) {
		section, places := s.counts(types, scopes[name].entries, before)
		if places != nil {
			if err := b.Set(segmentKey(rangePlaces, s.number, name), places, nil); err != nil {
				return err
			}
		}
		if err := w.add(name, section); err != nil {
			return err
		}
	}
	return w.end()
}

// counts is the section of a scope: its types, how many events of each there are, and the place and the type of each event.
// places are these where they are too many for a section.
func (s *segment) counts(types []string, entries []uint32, before eventstore.Position) (section, places []byte) {
	numbers := make([]int, len(types))
	for _, i := range entries {
		numbers[s.types[i]]++
	}
	local, kinds := make([]uint64, len(types)), 0
	for t, n := range numbers {
		if n > 0 {
			local[t] = uint64(kinds)
			kinds++
		}
	}
	section = binary.AppendUvarint(section, uint64(kinds))
	for t, n := range numbers {
		if n > 0 {
			section = packed.AppendBytes(section, types[t])
			section = binary.AppendUvarint(section, uint64(n))
		}
	}
	shift := typeBits(kinds)
	places = make([]byte, 0, 3*len(entries))
	for _, i := range entries {
		p := s.positions[i]
		places = binary.AppendUvarint(places, uint64(p-before)<<shift|local[s.types[i]])
		before = p
	}
	if len(entries) <= placesInline {
		return append(section, places...), nil
	}
	return section, places
}

// typeBits is how many bits tell one of some types.
func typeBits(types int) int { return bits.Len(uint(max(types, 1) - 1)) }

// sections writes the numbers of the scopes of a segment.
type sections struct {
	batch  batch
	number int64
	last   string
	value  []byte
}

func (w *sections) add(name string, section []byte) error {
	w.last = name
	w.value = packed.AppendBytes(w.value, name)
	w.value = packed.AppendBytes(w.value, section)
	if len(w.value) < sealedBytes {
		return nil
	}
	return w.end()
}

func (w *sections) end() error {
	if len(w.value) == 0 {
		return nil
	}
	err := w.batch.Set(segmentKey(rangeCounts, w.number, w.last), w.value, nil)
	w.value = w.value[:0]
	return err
}

// segmentKey is the key of a value of a segment, whose last section has a name.
func segmentKey[S string | []byte](prefix byte, number int64, name S) []byte {
	b := make([]byte, 0, len(name)+9)
	b = binary.BigEndian.AppendUint64(append(b, prefix), uint64(number))
	return append(b, name...)
}
