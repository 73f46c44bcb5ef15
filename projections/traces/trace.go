// Package traces has what reports need of lifecycle events in a short form: a Step says what an event does to an instance, and a
// State is an instance as its steps leave it. A step takes about ten bytes where its event takes several hundred, and is read in
// some nanoseconds. So a report of any span can be a fold of all its events (ADR 073).
//
// INVARIANT: the steps of events that Rollcall wrote lead to the state to which domain.Evolve leads, as far as State tells it.
package traces

import (
	"cmp"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/plain"
)

// Kind says what a step does.
type Kind uint8

// The kinds.
const (
	None         Kind = iota // nothing: the event is of no kind that concerns an instance
	Unread                   // the event cannot be read
	Registered               // begins an epoch
	Updated                  // changes details
	Health                   // changes the status
	Traffic                  // changes the traffic state
	Check                    // changes a check, and maybe the status
	Deregistered             // ends the epoch on request
	Expired                  // ends the epoch because of silence
)

// Status is a place in Statuses, and one more; 0: the step leaves the status as it is.
type Status uint8

// Statuses are all statuses.
var Statuses = [...]domain.Status{domain.Passing, domain.Warning, domain.Starting, domain.Critical}

const (
	passing  Status = 1
	warning  Status = 2
	critical Status = 4
)

// Name is the status in words; "": it is 0.
func (s Status) Name() domain.Status {
	if s == 0 {
		return ""
	}
	return Statuses[s-1]
}

func statusOf(s domain.Status) Status { return Status(slices.Index(Statuses[:], s) + 1) }

// TrafficState is a place in Traffics.
type TrafficState uint8

// Traffics are all traffic states.
var Traffics = [...]domain.Traffic{domain.Serving, domain.Draining, domain.Maintenance}

const (
	serving     TrafficState = 0
	maintenance TrafficState = 2
)

// Name is the traffic state in words.
func (t TrafficState) Name() domain.Traffic { return Traffics[t] }

func trafficOf(t domain.Traffic) TrafficState {
	return TrafficState(max(0, slices.Index(Traffics[:], t)))
}

// Step is what an event does to an instance. Fields that its kind does not name mean nothing.
type Step struct {
	Leaf int64    // number of the event's leaf in the history
	At   int64    // when the event was recorded, Unix nanoseconds
	New  *Details // of Registered and Updated

	// Since is, of a lapse, when the instance was last heard, and of a removal because of a check, since when the check was
	// critical, both in Unix nanoseconds, if SinceKnown.
	Since      int64
	Code       int32 // exit code, of Deregistered; not 0 where Crashed
	SinceKnown bool

	Kind    Kind
	Status  Status // after the step, of Registered, Updated, Health and Check
	Says    Status // what the instance says of itself from then on, of Registered, Updated and Health
	Traffic TrafficState
	Lease   bool // of Health: the lease did it
	Lapsed  bool // of Health: the lease lapsed
	Checks  bool // of Registered, Updated and Check: the instance has checks
	ByCheck bool // of Deregistered: the registry removed the instance because a check stayed critical
	Crashed bool // of Deregistered: the process ended by itself, with Code
}

// Details are what a registration or an update says that reports tell. REQUIRES: nobody changes them, because steps share them.
type Details struct {
	Begins               uint64 // the epoch that a registration begins; 0: it is an update
	Owner, Zone, Version string
}

// Of is the step of a recorded event.
func Of(e *eventstore.RecordedEvent) Step {
	s, _ := new(Maker).Of(e)
	return s
}

// Maker makes the steps of recorded events, one after the other. The zero Maker is ready. Details that follow equal ones share their
// memory.
type Maker struct{ newest *Details }

// Of is the step of a recorded event. plain says that the event's data was read in the form that package plain reads, so it is JSON, in
// one line.
func (m *Maker) Of(e *eventstore.RecordedEvent) (s Step, plain bool) {
	s, plain = m.of(e)
	s.At = e.RecordedAt.UnixNano()
	return s, plain
}

func (m *Maker) of(e *eventstore.RecordedEvent) (s Step, isPlain bool) {
	data, err := eventstore.Upcasted(e)
	if err != nil {
		return Step{Kind: Unread}, false
	}
	p := reading{Reader: plain.Reader{Data: data}, newest: m.newest}
	switch e.Type {
	case domain.TypeInstanceRegistered:
		s = p.registered()
	case domain.TypeInstanceUpdated:
		s = p.updated()
	case domain.TypeHealthChanged:
		s = p.health()
	case domain.TypeTrafficChanged:
		s = p.traffic()
	default:
		p.Failed = true
	}
	if !p.Failed {
		m.newest = cmp.Or(s.New, m.newest)
		return s, &data[0] == &e.Data[0]
	}
	event, err := domain.DecodeEvent(e.Type, data)
	if err != nil {
		return Step{Kind: Unread}, false
	}
	return OfEvent(event), false
}

// OfEvent is the step of an event, without its time and its leaf.
func OfEvent(event domain.Event) Step {
	switch e := event.(type) {
	case domain.InstanceRegistered:
		return registered(&e)
	case domain.InstanceUpdated:
		return updated(&e)
	case domain.HealthChanged:
		s := Step{Kind: Health, Status: statusOf(e.To), Says: cmp.Or(statusOf(e.Reported), statusOf(e.To)), Lease: e.Source == domain.FromLease, Lapsed: e.Lapsed}
		if e.Lapsed {
			s.heard(e.LastHeard)
		}
		return s
	case domain.TrafficChanged:
		return Step{Kind: Traffic, Traffic: trafficOf(e.To)}
	case domain.CheckAdded:
		return Step{Kind: Check, Status: statusOf(e.Status), Checks: true}
	case domain.CheckRemoved:
		return Step{Kind: Check, Status: statusOf(e.Status)}
	case domain.CheckChanged:
		return Step{Kind: Check, Status: statusOf(e.Status)}
	case domain.InstanceDeregistered:
		return deregistered(&e)
	case domain.LeaseExpired:
		s := Step{Kind: Expired}
		s.heard(e.LastHeard)
		return s
	}
	return Step{Kind: None}
}

func registered(e *domain.InstanceRegistered) Step {
	s := Step{Kind: Registered, Says: statusOf(cmp.Or(e.Reported, e.Details.Status)), Checks: len(e.Checks) > 0}
	s.New = &Details{e.Epoch, e.Owner, e.Zone, e.Version}
	s.Status = s.Says
	if s.Checks { // a new epoch knows nothing of checks before it, so the event alone tells the status
		i := domain.Evolve(domain.Instance{}, *e, domain.Recorded{})
		s.Status = statusOf(i.Status)
	}
	if e.Maintenance != nil {
		s.Traffic = maintenance
	}
	return s
}

func updated(e *domain.InstanceUpdated) Step {
	s := Step{Kind: Updated, Checks: len(e.Checks) > 0}
	s.New = &Details{0, e.Owner, e.Zone, e.Version}
	switch {
	case e.Reported != "":
		s.Says = statusOf(e.Reported)
	case slices.Contains(e.Changed, "status"):
		s.Says = statusOf(e.Details.Status)
	}
	if s.Checks {
		s.Status = statusOf(e.Details.Status)
	}
	return s
}

func deregistered(e *domain.InstanceDeregistered) Step {
	code, exited := domain.ExitCode(e.Reason)
	s := Step{Kind: Deregistered, ByCheck: e.Check != ""}
	if s.ByCheck {
		s.SinceKnown = !e.CriticalSince.IsZero()
	}
	if s.SinceKnown {
		s.Since = e.CriticalSince.UnixNano()
	}
	if s.Crashed = exited && code != 0; s.Crashed {
		s.Code = int32(code) // an exit code has 32 bits at most
	}
	return s
}

func (s *Step) heard(h domain.LastHeard) {
	if at := h.At(); !at.IsZero() {
		s.Since, s.SinceKnown = at.UnixNano(), true
	}
}
