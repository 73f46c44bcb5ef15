package traces

import (
	"fmt"

	"github.com/rollcall-registry/rollcall/projections/packed"
)

// Reader reads the values of a Writer, and those of the form before it. The zero Reader is ready. It keeps the newest details, which the next
// ones often repeat.
type Reader struct {
	value  packed.Reader // the instances after this one
	shares bool          // the value has a table of details, and names share their beginnings
	table  []byte
	first  int64 // leaf
	began  int64 // time of the value, in units
	name   []byte
	stored packed.Reader // the steps after this one
	unit   int64
	leaf   int64
	at     int64
	newest *Details
}

// Open opens a value of a segment whose first leaf has a number. REQUIRES: the value stays as it is while the Reader reads it.
func (r *Reader) Open(value []byte, first int64) {
	r.value, r.stored, r.name = packed.Reader{B: value}, packed.Reader{}, r.name[:0]
	r.first, r.began, r.table = first, 0, nil
	if r.shares = len(value) > 0 && value[0] == 0; !r.shares {
		return
	}
	r.value.Byte()
	r.unit = unit(&r.value)
	r.began, r.table = r.value.Varint(), r.value.Bytes()
}

// unit reads a unit of times.
func unit(r *packed.Reader) int64 {
	u := int(r.Byte())
	if u >= len(units) {
		r.Fail()
		return 1
	}
	return units[u]
}

// Instance goes on to the next instance of the value, whose steps Next then reads; false: there is none any more, or Err says that the rest
// cannot be read.
func (r *Reader) Instance() bool {
	if len(r.value.B) == 0 {
		return false
	}
	shared := uint64(0)
	if r.shares {
		shared = r.value.Uvarint()
	}
	if shared > uint64(len(r.name)) {
		r.value.Fail()
		return false
	}
	r.name = append(r.name[:shared], r.value.Bytes()...)
	r.stored = packed.Reader{B: r.value.Bytes(), Failed: r.value.Failed}
	r.leaf, r.at = r.first, r.began
	if !r.shares {
		r.unit = unit(&r.stored)
	}
	return !r.value.Failed
}

// Name is the name of the instance, until the next call of Instance.
func (r *Reader) Name() []byte { return r.name }

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
	begins, texts := r.stored.Uvarint(), &r.stored
	if r.shares {
		at := r.stored.Uvarint()
		if at >= uint64(len(r.table)) {
			r.stored.Fail()
			return nil
		}
		texts = &packed.Reader{B: r.table[at:]}
	}
	owner, zone, version := texts.Bytes(), texts.Bytes(), texts.Bytes()
	r.stored.Failed = r.stored.Failed || texts.Failed
	n := r.newest
	if n == nil || n.Begins != begins || n.Owner != string(owner) || n.Zone != string(zone) || n.Version != string(version) {
		n = &Details{begins, string(owner), string(zone), string(version)}
		r.newest = n
	}
	return n
}

// Err says that the steps cannot be read.
func (r *Reader) Err() error {
	if r.value.Failed || r.stored.Failed {
		return fmt.Errorf("traces: the steps after leaf %d are damaged", r.leaf)
	}
	return nil
}
