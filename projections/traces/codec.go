package traces

import (
	"encoding/binary"
	"fmt"

	"github.com/rollcall-registry/rollcall/projections/packed"
)

// Append appends the stored form of steps of one instance. REQUIRES: they are in order of their leaves, and first is not above
// the first of them. Each step is the differences of its leaf and its time from the step before, a head, and what the kind needs:
//
//	head: kind | status or traffic state << 4 | more << 7
func Append(b []byte, first int64, steps []Step) []byte {
	unit := unitOf(steps)
	b = append(b, unit)
	leaf, at := first, int64(0)
	for i := range steps {
		s := &steps[i]
		b = binary.AppendUvarint(b, uint64(s.Leaf-leaf))
		b = binary.AppendVarint(b, s.At/units[unit]-at)
		leaf, at = s.Leaf, s.At/units[unit]
		b = appendStep(b, s)
	}
	return b
}

// units are the lengths of time in which the times of an instance's steps may be counted: most stores record microseconds.
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

func appendStep(b []byte, s *Step) []byte {
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
		return append(b, head)
	}
	b = append(b, head|moreBit, flags)
	if s.SinceKnown {
		b = binary.AppendVarint(b, s.At-s.Since)
	}
	if s.Crashed {
		b = binary.AppendVarint(b, int64(s.Code))
	}
	if s.New == nil {
		return b
	}
	if s.Kind == Registered {
		b = append(b, byte(s.Traffic))
	}
	b = binary.AppendUvarint(b, s.New.Begins)
	for _, text := range [...]string{s.New.Owner, s.New.Zone, s.New.Version} {
		b = packed.AppendBytes(b, text)
	}
	return b
}

// Reader reads the stored forms of steps. The zero Reader is ready. It keeps the newest details, which the next ones often repeat.
type Reader struct {
	stored packed.Reader
	unit   int64
	leaf   int64
	at     int64
	newest *Details
}

// Begin begins the steps of an instance. first is what Append got.
func (r *Reader) Begin(stored []byte, first int64) {
	r.stored, r.leaf, r.at, r.unit = packed.Reader{Failed: true}, first, 0, 1
	if len(stored) > 0 && int(stored[0]) < len(units) {
		r.stored, r.unit = packed.Reader{B: stored[1:]}, units[stored[0]]
	}
}

// Next reads a step; false: there is none any more, or Err says that the rest cannot be read.
func (r *Reader) Next(s *Step) bool {
	if len(r.stored.B) == 0 {
		return false
	}
	r.leaf += int64(r.stored.Uvarint())
	r.at += r.stored.Varint()
	*s = Step{Leaf: r.leaf, At: r.at * r.unit}
	head := r.stored.Byte()
	s.Kind = Kind(head & 15)
	value := head >> 4 & 7
	if s.Kind == Traffic {
		s.Traffic = TrafficState(value)
	} else {
		s.Status = Status(value)
	}
	if s.Kind == Health {
		s.Says = s.Status
	}
	if head&moreBit != 0 {
		r.more(s)
	}
	if s.Kind > Expired || int(s.Status) > len(Statuses) || int(s.Says) > len(Statuses) || int(s.Traffic) >= len(Traffics) || (s.Kind == Registered || s.Kind == Updated) != (s.New != nil) {
		r.stored.Failed = true
	}
	return !r.stored.Failed
}

func (r *Reader) more(s *Step) {
	flags := r.stored.Byte()
	says := Status(flags & saysMask)
	s.SinceKnown, s.Checks = flags&since != 0, flags&checks != 0
	switch s.Kind {
	case Health:
		s.Lease, s.Lapsed = flags&lease != 0, flags&lapsed != 0
		if says != 0 {
			s.Says = says
		}
	case Registered, Updated:
		s.Says = says
	case Deregistered:
		s.ByCheck, s.Crashed = flags&lease != 0, flags&lapsed != 0
	}
	if s.SinceKnown {
		s.Since = s.At - r.stored.Varint()
	}
	if s.Crashed {
		s.Code = int32(r.stored.Varint())
	}
	if s.Kind == Registered || s.Kind == Updated {
		if s.Kind == Registered {
			s.Traffic = TrafficState(r.stored.Byte())
		}
		s.New = r.details()
	}
}

// details reads details. Details that are those before them are the same in memory, too.
func (r *Reader) details() *Details {
	begins := r.stored.Uvarint()
	owner, zone, version := r.stored.Bytes(), r.stored.Bytes(), r.stored.Bytes()
	n := r.newest
	if n == nil || n.Begins != begins || n.Owner != string(owner) || n.Zone != string(zone) || n.Version != string(version) {
		n = &Details{begins, string(owner), string(zone), string(version)}
		r.newest = n
	}
	return n
}

// Err says that the steps cannot be read.
func (r *Reader) Err() error {
	if r.stored.Failed {
		return fmt.Errorf("traces: the steps after leaf %d are damaged", r.leaf)
	}
	return nil
}
