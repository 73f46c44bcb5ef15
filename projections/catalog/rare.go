package catalog

import (
	"math"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// rare is what few instances have, or what only those have that changed since their registration. It is immutable, and entries of an
// instance that have the same share it. An entry has none as long as its epoch has one event, and no checks or maintenance.
type rare struct {
	began  beginning
	health *health // nil: the instance has no checks, and no lease that lapses to critical
	rarest *rarest // nil: the instance has nothing of it
}

type rarest struct {
	maintenance *domain.InMaintenance // nil: the instance is not in maintenance
	numbers     numbers               // if they are not in the entry
}

// beginning is the registration that began an epoch.
type beginning struct {
	at       eventstore.Position
	recorded int64 // Unix nanoseconds
}

// numbers are in the entry, unless one of them does not fit there, which only events of other programs and streams of thousands of millions of
// events bring about.
type numbers struct {
	epoch  uint64
	events uint64 // lifecycle events so far; the revision is this number less one
	ttl    time.Duration
}

// An entry has its ttl in milliseconds. The largest number is that of an instance without a lease.
const noLease = math.MaxUint32

// small is the ttl as an entry has it. false: a number does not fit into an entry.
func (n numbers) small() (ttl uint32, ok bool) {
	switch ms := n.ttl / time.Millisecond; {
	case n.epoch > math.MaxUint32 || n.events > math.MaxUint32:
		return 0, false
	case n.ttl == time.Duration(domain.NoTTL):
		return noLease, true
	default:
		return uint32(ms), ms >= 0 && ms < noLease && ms*time.Millisecond == n.ttl
	}
}

func (e *Entry) numbers() numbers {
	if e.marks&largeNumbers != 0 {
		return e.rare.rarest.numbers
	}
	return numbers{uint64(e.epoch), uint64(e.events), e.smallTTL()}
}

func (e *Entry) smallTTL() time.Duration {
	if e.ttl == noLease {
		return time.Duration(domain.NoTTL)
	}
	return time.Duration(e.ttl) * time.Millisecond
}

// Epoch says which registration of its key this is.
func (e *Entry) Epoch() uint64 { return e.numbers().epoch }

// Events is the number of lifecycle events so far.
func (e *Entry) Events() uint64 { return e.numbers().events }

// TTL is the ttl of the lease; domain.NoTTL: the instance has no lease.
func (e *Entry) TTL() time.Duration { return e.numbers().ttl }

func (e *Entry) beginning() beginning {
	if e.rare == nil {
		return beginning{e.Position, e.changed}
	}
	return e.rare.began
}

// Began is the position of the registration that began the epoch.
func (e *Entry) Began() eventstore.Position { return e.beginning().at }

// RegisteredAt is when the epoch began.
func (e *Entry) RegisteredAt() time.Time { return time.Unix(0, e.beginning().recorded).UTC() }

// Maintenance is the decision that keeps the instance in maintenance; nil: there is none. REQUIRES: nobody changes it.
func (e *Entry) Maintenance() *domain.InMaintenance {
	if e.rare == nil || e.rare.rarest == nil {
		return nil
	}
	return e.rare.rarest.maintenance
}

// health is nil if the instance has no checks, and no lease that lapses to critical.
func (e *Entry) health() *health {
	if e.rare == nil {
		return nil
	}
	return e.rare.health
}

// setRare gives the entry its numbers and what is rare. It keeps the rare that the entry has, if that is the same. REQUIRES: the entry has
// its position and its time.
func (e *Entry) setRare(n numbers, began beginning, maintenance *domain.InMaintenance, health *health) {
	e.setRareIn(new(rares), n, began, maintenance, health)
}

// rares gives pieces of memory, each for several rares. The zero value gives each its own.
type rares struct {
	free []rare
	left int // entries that may still need one
}

func (r *rares) next() (one *rare) {
	if len(r.free) == 0 {
		r.free = make([]rare, min(max(r.left, 1), keptTogether))
	}
	one, r.free = &r.free[0], r.free[1:]
	return one
}

// setRareIn is setRare with the memory that memory gives.
func (e *Entry) setRareIn(memory *rares, n numbers, began beginning, maintenance *domain.InMaintenance, health *health) {
	now := rare{began: began, health: health}
	if ttl, ok := n.small(); ok {
		e.epoch, e.events, e.ttl = uint32(n.epoch), uint32(n.events), ttl
		e.marks &^= largeNumbers
		n = numbers{}
	} else {
		e.marks |= largeNumbers
	}
	if r := (rarest{maintenance, n}); r != (rarest{}) {
		if before := e.rare; before != nil && before.rarest != nil && *before.rarest == r {
			now.rarest = before.rarest
		} else {
			now.rarest = &rarest{maintenance, n}
		}
	}
	switch {
	case now == rare{began: beginning{e.Position, e.changed}}:
		e.rare = nil
	case e.rare == nil || *e.rare != now:
		e.rare = memory.next()
		*e.rare = now
	}
}
