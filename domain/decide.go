package domain

import "fmt"

// Decide answers a command: the events that it causes in the given state, or why it is refused.
// No events and no error means that the command asks for what already is.
func Decide(i Instance, command Command) ([]Event, error) {
	switch c := command.(type) {
	case RegisterInstance:
		return i.register(c)
	case SendHeartbeat:
		received, err := i.Heartbeat(c)
		if err != nil {
			return nil, err
		}
		return []Event{received}, nil
	case ReportHealth:
		return i.reportHealth(c)
	case ChangeTraffic:
		return i.changeTraffic(c)
	case DeregisterInstance:
		return i.deregister(c)
	case ExpireLease:
		return i.expire(c)
	}
	panic(fmt.Sprintf("domain: no rule for command %T", command))
}

// register begins an epoch; a live instance is updated, or renewed when nothing differs.
func (i Instance) register(c RegisterInstance) ([]Event, error) {
	details := c.Details.Normalize()
	if !i.Live() {
		return []Event{InstanceRegistered{Epoch: i.Epoch + 1, Details: details}}, nil
	}
	if changed := i.Details.Diff(details); len(changed) > 0 {
		return []Event{InstanceUpdated{Epoch: i.Epoch, Changed: changed, Details: details}}, nil
	}
	return []Event{HeartbeatReceived{Epoch: i.Epoch}}, nil
}

// Heartbeat renews the lease; an instance that is not registered cannot. It is Decide for the command
// that comes most.
func (i *Instance) Heartbeat(c SendHeartbeat) (HeartbeatReceived, error) {
	return HeartbeatReceived{Epoch: i.Epoch}, i.refuse(c.Key, c.Epoch)
}

func (i Instance) reportHealth(c ReportHealth) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch); err != nil {
		return nil, err
	}
	if c.Status == i.Status {
		return nil, nil
	}
	return []Event{HealthChanged{Epoch: i.Epoch, From: i.Status, To: c.Status, Source: c.Source, Output: c.Output}}, nil
}

func (i Instance) changeTraffic(c ChangeTraffic) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch); err != nil {
		return nil, err
	}
	if c.Traffic == i.Traffic {
		return nil, nil
	}
	return []Event{TrafficChanged{Epoch: i.Epoch, From: i.Traffic, To: c.Traffic, Reason: c.Reason}}, nil
}

func (i Instance) deregister(c DeregisterInstance) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch); err != nil {
		return nil, err
	}
	return []Event{InstanceDeregistered{Epoch: i.Epoch, Reason: c.Reason}}, nil
}

func (i Instance) expire(c ExpireLease) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch); err != nil {
		return nil, err
	}
	return []Event{LeaseExpired{
		Epoch: i.Epoch, LastHeartbeat: c.LastHeartbeat, TTL: i.Details.TTL, Late: Duration(c.Late),
	}}, nil
}

// refuse says why a command for the given epoch cannot reach this instance, if it cannot.
// The key comes from the command: an instance that never was does not know its own.
func (i *Instance) refuse(key Key, epoch uint64) error {
	switch {
	case i.Phase == Unknown:
		return UnknownInstance{Key: key}
	case i.Phase == Deregistered:
		return UnknownInstance{Key: key, Deregistered: true}
	case i.Phase == Expired:
		return LeaseLapsed{Key: key}
	case epoch != 0 && epoch != i.Epoch:
		return StaleEpoch{Key: key, Epoch: epoch, Live: i.Epoch}
	}
	return nil
}
