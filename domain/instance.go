package domain

import (
	"slices"
	"time"
)

// Phase is where an instance stands in its life.
type Phase uint8

// The phases. The zero value is an instance that nobody has heard of.
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
	Epoch   uint64 // which registration this is; 0 before the first
	Owner   string // of the epoch; "": it named none
	Events  uint64 // lifecycle events folded in; the stream's revision is one less
	Status  Status
	Traffic Traffic
	Details Details // as last registered; Status is the present one, whatever Details.Status is
	// Maintenance is the decision that keeps the key out of traffic, whether or not an instance is live; nil: none does.
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

// Recorded is what the event store knows of an event beside the event itself.
type Recorded struct {
	Actor string
	At    time.Time
}

// Evolve applies one lifecycle event. It believes the event: what may happen was decided before. What cannot have
// happened to an instance that is not live, because another program wrote it, changes nothing.
// Heartbeats are no part of this state; they move the lease only.
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

// trafficChanged ends maintenance of a key that is not live, too; nothing else can change there.
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
