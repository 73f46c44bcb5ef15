package catalog

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// health is what an entry has besides its status, if its instance has checks or a lease that lapses to critical. Every other
// entry has none: nil. It is immutable.
type health struct {
	packed      *byte // the states of its checks (checkstates.go); nil: there are none
	lapsed      int64 // see domain.Instance, Unix nanoseconds; 0: it did not
	removeAfter domain.Duration
	size        uint32 // of packed, in bytes
	says        code   // what the instance says of itself
	critical    bool   // its lease lapses to critical
}

// healthOf is the health of an instance; nil: it needs none.
func healthOf(i *domain.Instance) *health {
	if len(i.Checks) == 0 && i.Lapsed.IsZero() && i.Details.OnLapse == "" {
		return nil
	}
	h := &health{removeAfter: i.Details.RemoveAfter, critical: i.Details.OnLapse == domain.LapseCritical}
	h.setChecks(i.Checks)
	h.says, _ = statusCode(i.Says())
	if !i.Lapsed.IsZero() {
		h.lapsed = i.Lapsed.UnixNano()
	}
	return h
}

// Watched says whether the instance has checks, or a lease that lapses to critical.
func (e *Entry) Watched() bool { return e != nil && e.health() != nil }

// Checks are the states of the instance's checks, in the order of their definitions.
func (e *Entry) Checks() []domain.CheckState {
	if h := e.health(); h != nil {
		return h.checks()
	}
	return nil
}

// Check is the state of a check of the instance; nil: the instance has none of that id. REQUIRES: nobody changes it.
func (e *Entry) Check(id string) *domain.CheckState {
	if !e.Watched() {
		return nil
	}
	all := e.health().checks()
	for i := range all {
		if all[i].ID == id {
			return &all[i]
		}
	}
	return nil
}

// HasCheck says whether the instance has a check of that id. Of an instance that has none, nothing is unpacked.
func (e *Entry) HasCheck(id string) bool {
	return e.Watched() && strings.Contains(e.health().states(), id) && e.Check(id) != nil
}

// Lapsed is when the lease lapsed to critical, with no heartbeat since; zero: it did not.
func (e *Entry) Lapsed() time.Time {
	if h := e.health(); h != nil && h.lapsed != 0 {
		return time.Unix(0, h.lapsed).UTC()
	}
	return time.Time{}
}

// Says is what the instance says of itself. Its status may be worse.
func (e *Entry) Says() domain.Status {
	if h := e.health(); h != nil {
		return statuses[h.says]
	}
	return e.Status()
}

// RemoveAfter is how long after its lease lapsed to critical the instance is removed; 0: never.
func (e *Entry) RemoveAfter() time.Duration {
	if h := e.health(); h != nil {
		return time.Duration(h.removeAfter)
	}
	return 0
}

// Brief is Instance with only the details of the lease. Brief is cheap: it decodes no event.
func (e *Entry) Brief() domain.Instance {
	i := domain.Instance{
		Key: e.Key(), Phase: domain.Registered, Epoch: e.Epoch(), Owner: e.Owner(), Events: e.Events(),
		Status: e.Status(), Traffic: e.Traffic(), Maintenance: e.Maintenance(), Details: domain.Details{TTL: domain.Duration(e.TTL())},
	}
	if h := e.health(); h != nil {
		i.Details.RemoveAfter, i.Lapsed, i.Checks = h.removeAfter, e.Lapsed(), h.checks()
		if h.critical {
			i.Details.OnLapse = domain.LapseCritical
		}
		if h.size > 0 || h.lapsed != 0 {
			i.Reported = e.Says()
		}
	}
	return i
}

// redefined keeps a source with the details of a state, whose checks an event without all details has changed.
func (e *Entry) redefined(before *Entry, details domain.Details) {
	source := before.event()
	switch s := source.(type) {
	case domain.InstanceRegistered:
		s.Checks = details.Checks
		source = s
	case domain.InstanceUpdated:
		s.Checks = details.Checks
		source = s
	}
	data, err := domain.Encode(source)
	if err != nil {
		panic(err) // cannot happen: it was decoded
	}
	keep(e, before.ID(), data)
}

// appendHealth writes a health into a snapshot.
func appendHealth(b []byte, h *health) []byte {
	b = packed.AppendBytes(b, statuses[h.says])
	b = binary.AppendUvarint(b, uint64(h.lapsed))
	b = binary.AppendUvarint(b, map[bool]uint64{true: 1}[h.critical])
	b = binary.AppendUvarint(b, uint64(h.removeAfter))
	if h.size == 0 {
		return binary.AppendUvarint(b, 0)
	}
	return append(b, h.states()...)
}

func (r *snapshotReader) health() *health {
	h := &health{}
	h.says, _ = statusCode(r.Bytes())
	h.lapsed, h.critical, h.removeAfter = int64(r.Uvarint()), r.Uvarint() == 1, domain.Duration(r.Uvarint())
	begin := r.B
	count := r.Uvarint()
	for n := count; n > 0 && !r.Failed; n-- {
		r.checkState()
	}
	if count > 0 && !r.Failed {
		h.keepStates(string(begin[:len(begin)-len(r.B)]))
	}
	return h
}
