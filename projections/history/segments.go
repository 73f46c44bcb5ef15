package history

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/sparse"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// segmentEntries is how many entries a segment has.
const segmentEntries = 1 << 15

// segments divide the entries into runs of one length, by the numbers of their leaves. Once a segment is full, the engine gets
// the steps of each instance and the numbers of events by type from it, each together (seal.go). So a report of many events
// reads few keys, and a histogram reads none of the events between two of its bounds (ADR 073).
//
// INVARIANT: the engine has the segments of ends, and full and open have all later entries. The goroutine that applies events
// moves a segment from full to ends when the engine has it. So a reader that finds no segment in memory finds it in the engine.
type segments struct {
	size int64 // entries of a segment

	mu   sync.RWMutex
	ends []eventstore.Position // the last position of each segment that the engine has
	full []*segment            // that the engine does not have yet
	open *segment              // is not full
}

// segment is a segment in memory. Entries are only appended, so a copy of a segment stays as it is while the original grows.
type segment struct {
	number    int64
	positions []eventstore.Position
	steps     []traces.Step
	types     []uint32 // of each entry, a place in names.types
	subjects  []uint32 // of each entry, a place in names.subjects
	names     *segmentNames
	growing   bool // it is a copy of the open segment
}

// segmentNames are the names that the entries of a segment share.
type segmentNames struct {
	mu       sync.RWMutex // guards the lists; only the goroutine that applies events changes them, and uses what follows
	types    []string
	subjects []*subject
	index    sparse.Index // of subjects
	memory   slab[subject]
}

// subject is an instance, or a stream of another kind.
type subject struct {
	stream eventstore.StreamName
	name   string
	hash   uint32 // see nameHash
	place  uint32 // in the segment's names

	serviceEnd, namespaceEnd uint32 // where they end in the name; 0: it belongs to none
	isInstance               bool

	// Only the goroutine that applies events uses these.
	lists   uint32        // the number of the lists that list is of
	list    *instanceList // nil: none was used yet
	segment int64         // in a rebuild: the number of the segment in which place is; -1: none
	summary *summary      // in a rebuild; nil: there is none
}

func (s *subject) service() string   { return s.name[:s.serviceEnd] }
func (s *subject) namespace() string { return s.name[:s.namespaceEnd] }

// key is the key of an instance.
func (s *subject) key() domain.Key {
	key, _ := eventstore.StreamName(eventstore.LifecyclePrefix + s.name).InstanceKey()
	return key
}

func newSegment(number int64) *segment {
	return &segment{number: number, names: &segmentNames{}}
}

// next is the segment after a full one, with memory for as many names.
func (s *segment) next() *segment {
	n := newSegment(s.number + 1)
	n.names.subjects, n.names.index = make([]*subject, 0, len(s.names.subjects)), s.names.index.Next()
	return n
}

// grow takes memory for a number of entries, so that they are not copied again and again. Readers may still have the old lists.
func (s *segment) grow(entries int) {
	more := max(0, entries-len(s.positions))
	s.positions, s.steps = slices.Grow(s.positions, more), slices.Grow(s.steps, more)
	s.types, s.subjects = slices.Grow(s.types, more), slices.Grow(s.subjects, more)
}

// reuse takes the memory of a segment of which nobody needs anything but the positions. REQUIRES: s has no entries.
func (s *segment) reuse(of *segment) {
	s.steps, s.types, s.subjects = of.steps[:0], of.types[:0], of.subjects[:0]
	s.positions = slices.Grow(s.positions, cap(of.steps))
	of.steps, of.types, of.subjects, of.names = nil, nil, nil, nil
}

// first is the number of the first leaf.
func (s *segment) first(size int64) int64 { return s.number * size }

// last is the last position; 0: there is none yet.
func (s *segment) last() eventstore.Position {
	if len(s.positions) == 0 {
		return 0
	}
	return s.positions[len(s.positions)-1]
}

// load reads what the engine has of the segments, and the entries of the one that is not full.
func (s *segments) load(x *index, entries int64) error {
	ends, err := x.segmentEnds()
	if err != nil {
		return err
	}
	if int64(len(ends)) != entries/s.size {
		return staleError("segments are missing")
	}
	s.ends, s.open = ends, newSegment(int64(len(ends)))
	next := eventstore.Position(1)
	if len(ends) > 0 {
		next = ends[len(ends)-1] + 1
	}
	read, made := x.entries(), new(drafts)
	for range entries % s.size {
		found, ok, err := read.from(next)
		if err == nil && !ok {
			err = staleError("entries are missing")
		}
		if err != nil {
			return errors.Join(err, read.close())
		}
		e, err := parseEvent(found)
		if err != nil {
			return errors.Join(err, read.close())
		}
		d, _ := made.draft(&e)
		eventType, of := s.open.names.place(&d, &e)
		s.add(e.Position, eventType, of, d.step, found.leaf)
		next = found.position + 1
	}
	return read.close()
}

// add adds an entry with what place gave for it. It gives the segment that is full with it. REQUIRES: only the goroutine that
// applies events calls add, and it has locked mu, or nobody reads yet.
func (s *segments) add(p eventstore.Position, eventType uint32, of *subject, step traces.Step, leaf int64) (full *segment) {
	if !of.isInstance {
		step = traces.Step{}
	}
	step.Leaf = leaf
	o := s.open
	if len(o.positions) == 256 { // a segment that has so many will be full at some time
		o.grow(int(s.size))
	}
	o.positions, o.steps = append(o.positions, p), append(o.steps, step)
	o.types, o.subjects = append(o.types, eventType), append(o.subjects, of.place)
	if int64(len(o.positions)) < s.size {
		return nil
	}
	s.full, s.open = append(s.full, o), o.next()
	return o
}

// placeOf gives the place of an entry's type, and gives the entry's subject a place. REQUIRES: as place, and nobody reads.
func (s *segment) placeOf(d *draft, of *subject) (eventType uint32) {
	n := s.names
	eventType, known := n.typeOf(d.terms.eventType)
	if !known {
		eventType = uint32(len(n.types))
		n.types = append(n.types, strings.Clone(d.terms.eventType))
	}
	if of.segment != s.number {
		of.segment, of.place = s.number, uint32(len(n.subjects))
		n.subjects = append(n.subjects, of)
	}
	return eventType
}

// place gives the place of an entry's type, and the entry's subject. REQUIRES: only the goroutine that applies events calls place.
func (n *segmentNames) place(d *draft, e *eventstore.RecordedEvent) (eventType uint32, of *subject) {
	t := &d.terms
	eventType, known := n.typeOf(t.eventType)
	if place, ok := n.index.Find(d.name, func(i int) bool { return n.subjects[i].stream == e.Stream }); ok {
		of = n.subjects[place]
	}
	if known && of != nil {
		return eventType, of
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !known {
		name := strings.Clone(t.eventType)
		eventType = uint32(len(n.types))
		n.types = append(n.types, name)
	}
	if of == nil {
		of = n.memory.next(len(n.subjects))
		*of = newSubject(t, eventstore.StreamName(strings.Clone(string(e.Stream))))
		of.hash, of.place = d.name, uint32(len(n.subjects))
		n.index.Add(d.name, len(n.subjects))
		n.subjects = append(n.subjects, of)
	}
	return eventType, of
}

// newSubject is the subject of a stream, of whose name it keeps the text.
func newSubject(t *terms, stream eventstore.StreamName) subject {
	s := subject{stream: stream, name: string(stream)}
	if t.ofInstance {
		s.name = indexName(strings.TrimPrefix(s.name, eventstore.LifecyclePrefix))
	}
	s.namespaceEnd, s.serviceEnd = uint32(len(t.namespace)), uint32(len(t.service))
	switch {
	case t.ofInstance && strings.HasSuffix(string(stream), s.name): // the name is as it was
		_, s.isInstance = stream.InstanceKey()
	case t.ofInstance:
		_, s.isInstance = eventstore.StreamName(eventstore.LifecyclePrefix + s.name).InstanceKey()
	}
	return s
}

// typeOf is the place of a type. REQUIRES: only the goroutine that applies events calls typeOf.
func (n *segmentNames) typeOf(name string) (place uint32, known bool) {
	for i, t := range n.types { // few
		if t == name {
			return uint32(i), true
		}
	}
	return 0, false
}

// view are the names so far.
func (n *segmentNames) view() (types []string, subjects []*subject) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.types, n.subjects
}

// written notes that the engine has the segments that are full.
func (s *segments) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, full := range s.full {
		s.ends = append(s.ends, full.last())
	}
	s.full = nil
}

// find is the number of the segment with the first entry at or after a position, or of the open one.
func (s *segments) find(p eventstore.Position) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := sort.Search(len(s.ends), func(i int) bool { return s.ends[i] >= p }); n < len(s.ends) {
		return int64(n)
	}
	for _, full := range s.full {
		if full.last() >= p {
			return full.number
		}
	}
	return s.open.number
}

// sealed is how many segments the engine has.
func (s *segments) sealed() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int64(len(s.ends))
}

// at is a segment: in memory, or its bounds where the engine has it. The entries of the segment are after the first bound, up to
// and with the second.
func (s *segments) at(number int64) (inMemory *segment, after, upTo eventstore.Position) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := number - int64(len(s.ends)); n < 0 {
		if number > 0 {
			after = s.ends[number-1]
		}
		return nil, after, s.ends[number]
	} else if n < int64(len(s.full)) {
		return s.full[n], 0, s.full[n].last()
	}
	view := *s.open
	view.growing = true
	return &view, 0, view.last()
}
