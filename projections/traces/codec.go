package traces

import (
	"encoding/binary"

	"github.com/rollcall-registry/rollcall/projections/packed"
)

// Writer writes the stored form of the steps of a segment, in values that each have those of some instances. A Writer may be used for one
// segment after another. A value is:
//
//	0, unit of times, time of the first step, table of details after its length, then for each instance
//	length of what its name shares with the name before, the rest of the name after its length, its steps after their length
//
// A step is the differences of its leaf and its time from the step before, a head, and what the kind needs. The first step of an instance
// differs from the first leaf of the segment and from the time of the value. Details are a place in the table: instances that are
// neighbours by name mostly have the same ones.
//
//	head: kind | status or traffic state << 4 | more << 7
//
// Values that were written before ADR 160 have neither a table nor shared names: they begin with the length of a name, which is never 0.
type Writer struct {
	first    int64 // leaf
	unit     byte
	began    int64 // time of the first step, in units
	last     []byte
	sections []byte
	steps    []byte // of an instance
	table    []byte
	recent   [4]placed // the newest details of the table
	details  int       // how many the table has
}

// placed are details and their place in the table of a value.
type placed struct {
	*Details
	at uint64
}

// Begin begins a segment whose first leaf has a number. steps are all of its steps.
func (w *Writer) Begin(first int64, steps []Step) {
	w.first, w.unit = first, unitOf(steps)
	w.reset()
}

func (w *Writer) reset() {
	w.last, w.sections, w.table, w.details = w.last[:0], w.sections[:0], w.table[:0], 0
	clear(w.recent[:])
}

// Add adds an instance of which some steps of the segment are, in order. REQUIRES: it has steps, and its name comes after the names before.
func (w *Writer) Add(name string, steps []Step, its []int32) {
	if len(w.sections) == 0 {
		w.began = steps[its[0]].At / units[w.unit]
	}
	w.steps = w.steps[:0]
	leaf, at := w.first, w.began
	for _, i := range its {
		s := &steps[i]
		now := s.At / units[w.unit]
		w.steps = binary.AppendUvarint(w.steps, uint64(s.Leaf-leaf))
		w.steps = binary.AppendVarint(w.steps, now-at)
		leaf, at = s.Leaf, now
		w.appendStep(s)
	}
	shared := 0
	for most := min(len(name), len(w.last)); shared < most && name[shared] == w.last[shared]; shared++ {
	}
	w.last = append(w.last[:shared], name[shared:]...)
	w.sections = binary.AppendUvarint(w.sections, uint64(shared))
	w.sections = packed.AppendBytes(w.sections, name[shared:])
	w.sections = packed.AppendBytes(w.sections, w.steps)
}

// Len is about how many bytes the value has so far; 0: it has no instance.
func (w *Writer) Len() int { return len(w.sections) + len(w.table) }

// Last is the name of the last instance of the value.
func (w *Writer) Last() []byte { return w.last }

// Append appends the value, and begins the next one.
func (w *Writer) Append(b []byte) []byte {
	b = append(b, 0, w.unit)
	b = binary.AppendVarint(b, w.began)
	b = packed.AppendBytes(b, w.table)
	b = append(b, w.sections...)
	w.reset()
	return b
}

// place is the place of details in the table.
func (w *Writer) place(d *Details) uint64 {
	for i := range w.recent {
		if r := &w.recent[i]; r.Details == d || r.Details != nil && r.Owner == d.Owner && r.Zone == d.Zone && r.Version == d.Version {
			return r.at
		}
	}
	at := uint64(len(w.table))
	for _, text := range [...]string{d.Owner, d.Zone, d.Version} {
		w.table = packed.AppendBytes(w.table, text)
	}
	w.recent[w.details%len(w.recent)] = placed{d, at}
	w.details++
	return at
}

// units are the lengths of time in which times may be counted: most stores record microseconds.
var units = [...]int64{1, 1000}

func unitOf(steps []Step) byte {
	for i := range steps {
		if steps[i].At%units[1] != 0 {
			return 0
		}
	}
	return 1
}

const moreBit = 1 << 7

// The flags of a step's second byte.
const (
	saysMask = 7
	lease    = 1 << 3 // or by a check, of Deregistered
	lapsed   = 1 << 4 // or crashed, of Deregistered
	since    = 1 << 5
	checks   = 1 << 6
)

func (w *Writer) appendStep(s *Step) {
	head := byte(s.Kind) | byte(s.Status)<<4
	if s.Kind == Traffic {
		head = byte(s.Kind) | byte(s.Traffic)<<4
	}
	flags := byte(0)
	set := func(flag byte, on bool) {
		if on {
			flags |= flag
		}
	}
	set(since, s.SinceKnown)
	set(checks, s.Checks)
	switch s.Kind {
	case Health:
		if s.Says != s.Status {
			flags |= byte(s.Says)
		}
		set(lease, s.Lease)
		set(lapsed, s.Lapsed)
	case Registered, Updated:
		flags |= byte(s.Says)
	case Deregistered:
		set(lease, s.ByCheck)
		set(lapsed, s.Crashed)
	}
	if flags == 0 && s.New == nil {
		w.steps = append(w.steps, head)
		return
	}
	w.steps = append(w.steps, head|moreBit, flags)
	if s.SinceKnown {
		w.steps = binary.AppendVarint(w.steps, s.At-s.Since)
	}
	if s.Crashed {
		w.steps = binary.AppendVarint(w.steps, int64(s.Code))
	}
	if s.New == nil {
		return
	}
	if s.Kind == Registered {
		w.steps = append(w.steps, byte(s.Traffic))
	}
	w.steps = binary.AppendUvarint(w.steps, s.New.Begins)
	w.steps = binary.AppendUvarint(w.steps, w.place(s.New))
}
