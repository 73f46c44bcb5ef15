package domain

import (
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
		i.Status, i.Traffic, i.Maintenance = e.Details.Status, Serving, e.Maintenance
		if e.Maintenance != nil {
			i.Traffic = Maintenance
		}
	case InstanceUpdated:
		if i.Live() {
			i.Owner, i.Details = e.Owner, e.Details
			if slices.Contains(e.Changed, "status") {
				i.Status = e.Details.Status
			}
		}
	case HealthChanged:
		if i.Live() {
			i.Status = e.To
		}
	case TrafficChanged:
		i = i.trafficChanged(e, recorded)
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
