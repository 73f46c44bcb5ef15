package domain

import (
	"cmp"
	"slices"
	"time"
)

// Phase is the phase of an instance's life.
type Phase uint8

// The phases. The zero value is an instance without events.
const (
	Unknown Phase = iota
	Registered
	Deregistered
	Expired
)

// Instance is the state of one instance: the fold of its lifecycle stream.
type Instance struct {
	Key     Key
	Phase   Phase
	Epoch   uint64 // the number of the registration; 0: there was none
	Owner   string // of the epoch; "": it has none
	Events  uint64 // lifecycle events so far; the revision of the stream is this number less one
	Status  Status
	Traffic Traffic
	Details Details // of the newest registration or update; the present status is Status, not Details.Status
	// Maintenance is the decision that keeps the key out of traffic, whether or not an instance is live; nil: there is none.
	Maintenance *InMaintenance

	Reported Status       // what the instance says of itself, if it has checks or its lease lapsed; "": Status
	Lapsed   time.Time    // when the lease lapsed to critical, with no heartbeat since; zero: it did not
	Checks   []CheckState // in the order of Details.Checks; nil: it has none
}

// Live says whether the instance is in the catalog.
func (i Instance) Live() bool { return i.Phase == Registered }

// Ready says whether the instance may get traffic.
func (i Instance) Ready() bool {
	return i.Live() && i.Traffic == Serving && (i.Status == Passing || i.Status == Warning)
}

// Revision is the lifecycle stream's revision at this state. It means nothing before the first event.
func (i Instance) Revision() uint64 { return i.Events - 1 }

// Recorded is what the record of an event has besides the event itself.
type Recorded struct {
	Actor string
	At    time.Time
}

// Evolve applies one lifecycle event. It checks no rule, because Decide did. An event that is possible only for a live
// instance changes nothing where none is live: another program wrote it. Heartbeats are not a part of this state; they only
// renew the lease.
func Evolve(i Instance, event Event, recorded Recorded) Instance {
	switch e := event.(type) {
	case InstanceRegistered:
		i.Phase, i.Epoch, i.Owner, i.Details = Registered, e.Epoch, e.Owner, e.Details
		i.Traffic, i.Maintenance, i.Lapsed = Serving, e.Maintenance, time.Time{}
		if e.Maintenance != nil {
			i.Traffic = Maintenance
		}
		i.Checks = redefine(nil, nil, e.Checks, i.Events, recorded.At)
		i = i.settle(cmp.Or(e.Reported, e.Details.Status))
	case InstanceUpdated:
		if i.Live() {
			i = i.updated(e, recorded)
		}
	case HealthChanged:
		if i.Live() {
			if e.Source == FromLease {
				i.Lapsed = time.Time{}
			}
			if e.Lapsed {
				i.Lapsed = recorded.At
			}
			i = i.settle(cmp.Or(e.Reported, e.To))
		}
	case TrafficChanged:
		i = i.trafficChanged(e, recorded)
	case CheckAdded, CheckRemoved, CheckChanged:
		if i.Live() {
			i = i.checked(e, recorded)
		}
	case InstanceDeregistered:
		if i.Live() {
			i.Phase = Deregistered
		}
	case LeaseExpired:
		if i.Live() {
			i.Phase = Expired
		}
	default:
		return i
	}
	i.Events++
	return i
}

// updated applies an update. A registration of a live instance renews the lease.
func (i Instance) updated(e InstanceUpdated, recorded Recorded) Instance {
	says := i.Says()
	switch {
	case e.Reported != "":
		says = e.Reported
	case slices.Contains(e.Changed, "status"):
		says = e.Details.Status
	}
	i.Checks = redefine(i.Checks, i.Details.Checks, e.Checks, i.Events, recorded.At)
	i.Owner, i.Details, i.Lapsed = e.Owner, e.Details, time.Time{}
	return i.settle(says)
}

// checked applies an event of a check.
func (i Instance) checked(event Event, recorded Recorded) Instance {
	says := i.Says()
	switch e := event.(type) {
	case CheckAdded:
		before := i.Details.Checks
		i.Details.Checks = withCheck(before, e.Check)
		i.Checks = redefine(i.Checks, before, i.Details.Checks, i.Events, recorded.At)
	case CheckRemoved:
		before := i.Details.Checks
		i.Details.Checks = withoutCheck(before, e.Check)
		i.Checks = redefine(i.Checks, before, i.Details.Checks, i.Events, recorded.At)
	case CheckChanged:
		if at := stateIndex(i.Checks, e.Check); at >= 0 {
			i.Checks = slices.Clone(i.Checks)
			i.Checks[at] = i.Checks[at].changed(e, recorded.At)
		}
	}
	return i.settle(says)
}

// withCheck is the checks with another one, in place of the check with its id or at the end.
func withCheck(checks []Check, c Check) []Check {
	if at := checkIndex(checks, c.ID); at >= 0 {
		checks = slices.Clone(checks)
		checks[at] = c
		return checks
	}
	return append(slices.Clip(checks), c)
}

// withoutCheck is the checks without the check with that id; nil: none is left.
func withoutCheck(checks []Check, id string) []Check {
	left := slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return c.ID == id })
	if len(left) == 0 {
		return nil
	}
	return left
}

// trafficChanged changes the traffic state of a live instance. Where no instance is live, it can only end maintenance.
func (i Instance) trafficChanged(e TrafficChanged, recorded Recorded) Instance {
	switch {
	case i.Live() && e.To == Maintenance:
		i.Maintenance = &InMaintenance{By: recorded.Actor, At: recorded.At, Reason: e.Reason}
	case i.Live() || e.To == Serving:
		i.Maintenance = nil
	default:
		return i
	}
	i.Traffic = e.To
	return i
}
