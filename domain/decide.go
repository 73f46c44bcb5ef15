package domain

import "fmt"

// Decide gives the events that a command causes in a state, or the reason why the command is refused. No event and no error
// means that the state is already the one that the command asks for.
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

// register begins an epoch where no instance is live, or where the live instance has another owner. Otherwise it updates the
// live instance, or renews its lease when nothing differs.
func (i Instance) register(c RegisterInstance) ([]Event, error) {
	switch {
	case i.Live() && c.CreateOnly:
		return nil, AlreadyLive{Key: c.Key, Epoch: i.Epoch}
	case i.Live() && c.Epoch != 0 && c.Epoch != i.Epoch:
		return nil, StaleEpoch{Key: c.Key, Epoch: c.Epoch, Live: i.Epoch}
	case !i.Live() && c.Epoch != 0:
		return nil, StaleEpoch{Key: c.Key, Epoch: c.Epoch}
	}
	if i.Live() {
		if err := i.heldBy(c.Key, c.Holder); err != nil {
			return nil, err
		}
	}
	details := c.Details.Normalize()
	if !i.Live() || c.Owner != "" && c.Owner != i.Owner {
		return []Event{i.begin(c.Owner, details)}, nil
	}
	before := i.present()
	if details.Status == "" {
		details.Status = before.Status
	}
	changed := before.Diff(details)
	if len(changed) == 0 {
		return []Event{HeartbeatReceived{Epoch: i.Epoch}}, nil
	}
	updated := InstanceUpdated{Epoch: i.Epoch, Owner: i.Owner, Changed: changed, Details: details}
	if before.Status != details.Status {
		updated.PreviousStatus = before.Status
	}
	return []Event{updated}, nil
}

// begin is the registration that begins the next epoch. Only an operator's maintenance stays from the epoch before.
func (i Instance) begin(owner string, details Details) InstanceRegistered {
	if details.Status == "" {
		details.Status = Passing
	}
	r := InstanceRegistered{Epoch: i.Epoch + 1, Owner: owner, Maintenance: i.Maintenance, Details: details}
	if i.Live() {
		r.Replaces = i.Epoch
	}
	return r
}

// present are the details with the present status. A registration is compared with them.
func (i Instance) present() Details {
	d := i.Details.Normalize()
	d.Status = i.Status
	return d
}

// Repeats says whether a registration would change nothing about the live instance. An earlier version may have accepted a
// registration that today's limits refuse. Such a registration goes on renewing the lease.
func (i Instance) Repeats(c RegisterInstance) bool {
	if !i.Live() {
		return false
	}
	events, err := i.register(c)
	if err != nil {
		return false
	}
	_, renews := events[0].(HeartbeatReceived)
	return renews
}

// Heartbeat decides a heartbeat, as Decide does, without allocating memory. An instance that is not registered has no lease
// to renew.
func (i *Instance) Heartbeat(c SendHeartbeat) (HeartbeatReceived, error) {
	return HeartbeatReceived{Epoch: i.Epoch}, i.refuse(c.Key, c.Epoch, c.Owner, c.Holder)
}

func (i Instance) reportHealth(c ReportHealth) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch, c.Owner, c.Holder); err != nil {
		return nil, err
	}
	if c.Status == i.Status {
		return nil, nil
	}
	return []Event{HealthChanged{Epoch: i.Epoch, From: i.Status, To: c.Status, Source: c.Source, Output: c.Output}}, nil
}

// changeTraffic changes a live instance's traffic. Maintenance outlives the instance, so it can be ended when no instance is
// live.
func (i Instance) changeTraffic(c ChangeTraffic) ([]Event, error) {
	refused := i.refuse(c.Key, c.Epoch, c.Owner, c.Holder)
	if !i.Live() && i.Maintenance != nil && c.Traffic == Serving {
		refused = i.fits(c.Key, c.Epoch, c.Owner, c.Holder)
	}
	if refused != nil {
		return nil, refused
	}
	if c.Holder != "" && (c.Traffic == Maintenance || i.Maintenance != nil) { // an operator's decision
		return nil, Forbidden{Actor: c.Holder, Verb: ChangeInstanceTraffic, Key: c.Key}
	}
	if c.Traffic == i.Traffic {
		return nil, nil
	}
	return []Event{TrafficChanged{Epoch: i.Epoch, From: i.Traffic, To: c.Traffic, Reason: c.Reason}}, nil
}

func (i Instance) deregister(c DeregisterInstance) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch, c.Owner, c.Holder); err != nil {
		return nil, err
	}
	return []Event{InstanceDeregistered{Epoch: i.Epoch, Reason: c.Reason}}, nil
}

func (i Instance) expire(c ExpireLease) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch, "", ""); err != nil {
		return nil, err
	}
	return []Event{LeaseExpired{
		Epoch: i.Epoch, LastHeartbeat: c.LastHeartbeat, TTL: i.Details.TTL, Late: Duration(c.Late),
	}}, nil
}

// refuse is why a command for an epoch and an owner cannot be carried out on this instance; nil: it can. key is the
// command's, because the state of an instance without events has no key.
func (i *Instance) refuse(key Key, epoch uint64, owner, holder string) error {
	switch i.Phase {
	case Unknown:
		return UnknownInstance{Key: key}
	case Deregistered:
		return UnknownInstance{Key: key, Deregistered: true}
	case Expired:
		return LeaseLapsed{Key: key}
	}
	return i.fits(key, epoch, owner, holder)
}

// fits refuses a command that names another epoch (0: none is named), another owner or holder ("": none is named).
func (i *Instance) fits(key Key, epoch uint64, owner, holder string) error {
	switch {
	case epoch != 0 && epoch != i.Epoch:
		return StaleEpoch{Key: key, Epoch: epoch, Live: i.Epoch}
	case owner != "" && owner != i.Owner:
		return OtherOwner{Key: key, Owner: owner, Live: i.Owner}
	}
	return i.heldBy(key, holder)
}

// heldBy refuses a holder ("": none is named) to whom the registration's owner does not belong.
func (i *Instance) heldBy(key Key, holder string) error {
	if holder != "" && !Holds(holder, i.Owner) {
		return NotHeld{Key: key, Holder: holder}
	}
	return nil
}
