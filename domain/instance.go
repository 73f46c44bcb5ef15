package domain

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
	Events  uint64 // lifecycle events folded in; the stream's revision is one less
	Status  Status
	Traffic Traffic
	Details Details // as last registered; Details.Status is the initial status, Status the present one
}

// Live says whether the instance is in the catalog.
func (i Instance) Live() bool { return i.Phase == Registered }

// Ready says whether the instance may get traffic.
func (i Instance) Ready() bool {
	return i.Live() && i.Traffic == Serving && (i.Status == Passing || i.Status == Warning)
}

// Revision is the lifecycle stream's revision at this state. It means nothing before the first event.
func (i Instance) Revision() uint64 { return i.Events - 1 }

// Evolve applies one lifecycle event. It believes the event: what may happen was decided before.
// Heartbeats are no part of this state; they move the lease only.
func Evolve(i Instance, event Event) Instance {
	switch e := event.(type) {
	case InstanceRegistered:
		i.Phase, i.Epoch, i.Details = Registered, e.Epoch, e.Details
		i.Status, i.Traffic = e.Details.Status, Serving
	case InstanceUpdated:
		if e.Details.Status != i.Details.Status {
			i.Status = e.Details.Status
		}
		i.Details = e.Details
	case HealthChanged:
		i.Status = e.To
	case TrafficChanged:
		i.Traffic = e.To
	case InstanceDeregistered:
		i.Phase = Deregistered
	case LeaseExpired:
		i.Phase = Expired
	default:
		return i
	}
	i.Events++
	return i
}
