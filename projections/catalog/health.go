package catalog

import (
	"encoding/binary"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// health is what an entry has besides its status, if its instance has checks or a lease that lapses to critical. Every other
// entry has none: nil. It is immutable.
type health struct {
	reported    domain.Status // what the instance says of itself; "": the entry's status
	lapsed      time.Time     // see domain.Instance
	onLapse     domain.LapsePolicy
	removeAfter domain.Duration
	checks      []domain.CheckState
}

// healthOf is the health of an instance; nil: it needs none.
func healthOf(i *domain.Instance) *health {
	if len(i.Checks) == 0 && i.Lapsed.IsZero() && i.Details.OnLapse == "" {
		return nil
	}
	return &health{i.Reported, i.Lapsed, i.Details.OnLapse, i.Details.RemoveAfter, i.Checks}
}

// Watched says whether the instance has checks, or a lease that lapses to critical.
func (e *Entry) Watched() bool { return e != nil && e.health != nil }

// Checks are the states of the instance's checks, in the order of their definitions. REQUIRES: nobody changes them.
func (e *Entry) Checks() []domain.CheckState {
	if e.health == nil {
		return nil
	}
	return e.health.checks
}

// Lapsed is when the lease lapsed to critical, with no heartbeat since; zero: it did not.
func (e *Entry) Lapsed() time.Time {
	if e.health == nil {
		return time.Time{}
	}
	return e.health.lapsed
}

// Says is what the instance says of itself. Its status may be worse.
func (e *Entry) Says() domain.Status {
	if e.health == nil || e.health.reported == "" {
		return e.Status()
	}
	return e.health.reported
}

// RemoveAfter is how long after its lease lapsed to critical the instance is removed; 0: never.
func (e *Entry) RemoveAfter() time.Duration {
	if e.health == nil {
		return 0
	}
	return time.Duration(e.health.removeAfter)
}

// Brief is Instance without the details but for those of the lease. It is cheap.
func (e *Entry) Brief() domain.Instance {
	i := domain.Instance{
		Key: e.Key(), Phase: domain.Registered, Epoch: e.Epoch, Owner: e.Owner(), Events: e.Events,
		Status: e.Status(), Traffic: e.Traffic(), Maintenance: e.maintenance, Details: domain.Details{TTL: domain.Duration(e.TTL)},
	}
	if h := e.health; h != nil {
		i.Details.OnLapse, i.Details.RemoveAfter = h.onLapse, h.removeAfter
		i.Reported, i.Lapsed, i.Checks = h.reported, h.lapsed, h.checks
	}
	return i
}

// evolve gives the entry the health that its instance has after an event. state is the instance's before the event.
func (e *Entry) evolve(state domain.Instance, event domain.Event, recorded domain.Recorded) (after domain.Instance) {
	state.Events = e.Events - 1
	after = domain.Evolve(state, event, recorded)
	e.status, _ = statusCode(after.Status)
	e.health = healthOf(&after)
	return after
}

// redefined keeps a source with the details of a state, whose checks an event without all details has changed.
func (e *Entry) redefined(name string, before *Entry, details domain.Details) {
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
	keep(e, name, data)
}

// appendHealth writes a health into a snapshot.
func appendHealth(b []byte, h *health) []byte {
	b = appendString(b, h.reported)
	b = appendTime(b, h.lapsed)
	b = appendString(b, h.onLapse)
	b = binary.AppendUvarint(b, uint64(h.removeAfter))
	b = binary.AppendUvarint(b, uint64(len(h.checks)))
	for i := range h.checks {
		c := &h.checks[i]
		b = appendString(b, c.ID)
		b = appendString(b, c.Kind)
		b = appendString(b, c.Status)
		b = appendString(b, c.Output)
		b = appendString(b, c.By)
		for _, n := range [...]uint64{uint64(c.TTL), uint64(c.RemoveAfter), c.Revision} {
			b = binary.AppendUvarint(b, n)
		}
		b = appendTime(b, c.Since)
		b = binary.AppendUvarint(b, uint64(len(c.Changes)))
		for _, at := range c.Changes {
			b = appendTime(b, at)
		}
	}
	return b
}

// appendTime writes a time as nanoseconds since 1970, and the zero time as 0.
func appendTime(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return binary.AppendUvarint(b, 0)
	}
	return binary.AppendUvarint(b, uint64(at.UnixNano()))
}

func (r *snapshotReader) time() time.Time {
	if n := r.number(); n != 0 {
		return time.Unix(0, int64(n)).UTC()
	}
	return time.Time{}
}

func (r *snapshotReader) health() *health {
	h := &health{reported: domain.Status(r.bytes()), lapsed: r.time(), onLapse: domain.LapsePolicy(r.bytes()), removeAfter: domain.Duration(r.number())}
	for n := r.number(); n > 0 && !r.short; n-- {
		c := domain.CheckState{
			ID: string(r.bytes()), Kind: domain.CheckKind(r.bytes()), Status: domain.Status(r.bytes()), Output: string(r.bytes()), By: string(r.bytes()),
			TTL: domain.Duration(r.number()), RemoveAfter: domain.Duration(r.number()), Revision: r.number(), Since: r.time(),
		}
		for n := r.number(); n > 0 && !r.short; n-- {
			c.Changes = append(c.Changes, r.time())
		}
		h.checks = append(h.checks, c)
	}
	return h
}
