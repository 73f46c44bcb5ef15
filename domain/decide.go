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
		return []Event{i.renewed(received)}, nil
	case ReportHealth:
		return i.reportHealth(c)
	case ChangeTraffic:
		return i.changeTraffic(c)
	case DeregisterInstance:
		return i.deregister(c)
	case ExpireLease:
		return i.expire(c)
	case AddCheck:
		return i.addCheck(c)
	case RemoveCheck:
		return i.removeCheck(c)
	case ReportCheck:
		return i.reportCheck(c)
	case ReportProbe:
		return i.reportProbe(c)
	case LapseCheck:
		return i.lapseCheck(c)
	case RemoveCritical:
		return i.removeCritical(c)
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
	var kept []Check
	begins := !i.Live() || c.Owner != "" && c.Owner != i.Owner
	if !begins {
		kept = i.Details.Checks
	}
	details, err := withChecks(details, kept)
	if err != nil {
		return nil, err
	}
	if begins {
		return []Event{i.begin(c.Owner, details)}, nil
	}
	return i.update(details), nil
}

// Begin is Decide of a registration where there was no instance yet, without the memory that Decide takes. ok is false where Decide
// refuses it, or has to compute more: a registration with checks.
func (c *RegisterInstance) Begin() (registered InstanceRegistered, ok bool) {
	if c.Epoch != 0 || c.Details.Checks != nil {
		return registered, false
	}
	return Instance{}.begin(c.Owner, c.Details.Normalize()), true
}

// update is a registration of the live instance.
func (i Instance) update(details Details) []Event {
	before := i.present()
	updated := InstanceUpdated{Epoch: i.Epoch, Owner: i.Owner, Details: details}
	if updated.Status == "" {
		updated.Status = i.Says()
	}
	if len(i.Checks) > 0 || len(details.Checks) > 0 || !i.Lapsed.IsZero() {
		updated.Reported = updated.Status
		updated.Status, _ = i.statusAfter(updated)
	}
	updated.Changed = before.Diff(updated.Details)
	if updated.Reported != "" && updated.Reported != i.Says() && updated.Status == before.Status {
		updated.Changed = append(updated.Changed, "reported")
	}
	if len(updated.Changed) == 0 || !i.Lapsed.IsZero() && i.onlyRenews(before, updated) {
		return []Event{i.renewed(HeartbeatReceived{Epoch: i.Epoch})}
	}
	if before.Status != updated.Status {
		updated.PreviousStatus = before.Status
	}
	return []Event{updated}
}

// onlyRenews says whether an update of an instance whose lease lapsed changes nothing that a heartbeat does not change.
func (i Instance) onlyRenews(before Details, updated InstanceUpdated) bool {
	before.Status = updated.Status
	return updated.Reported == i.Says() && len(before.Diff(updated.Details)) == 0
}

// renewed is the event of a heartbeat. After the lease lapsed to critical, the heartbeat gives back what the instance last said.
func (i Instance) renewed(received HeartbeatReceived) Event {
	if i.Lapsed.IsZero() {
		return received
	}
	changed := HealthChanged{Epoch: i.Epoch, From: i.Status, To: i.Says(), Source: FromLease}
	changed.To, _ = i.statusAfter(changed)
	if says := i.Says(); says != changed.To {
		changed.Reported = says
	}
	return changed
}

// begin is the registration that begins the next epoch. Only an operator's maintenance stays from the epoch before.
func (i Instance) begin(owner string, details Details) InstanceRegistered {
	if details.Status == "" {
		details.Status = Passing
	}
	r := InstanceRegistered{Epoch: i.Epoch + 1, Owner: owner, Maintenance: i.Maintenance, Details: details}
	if len(details.Checks) > 0 {
		r.Reported = details.Status
		r.Status, _ = i.statusAfter(r)
	}
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
	switch e := events[0].(type) {
	case HeartbeatReceived:
		return true
	case HealthChanged:
		return e.Source == FromLease
	}
	return false
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
	if c.Status == i.Says() {
		return nil, nil
	}
	changed := HealthChanged{Epoch: i.Epoch, From: i.Status, To: c.Status, Source: c.Source, Output: c.Output}
	if changed.To, _ = i.statusAfter(changed); changed.To != c.Status {
		changed.Reported = c.Status
	}
	return []Event{changed}, nil
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
	if i.Details.TTL == NoTTL {
		return nil, nil
	}
	if i.Details.OnLapse == LapseCritical || c.KeptBy != "" {
		return i.lapse(c), nil
	}
	return []Event{LeaseExpired{
		Epoch: i.Epoch, LastHeard: c.LastHeard, TTL: i.Details.TTL, Late: Duration(c.Late),
	}}, nil
}

// lapse makes the instance critical until its next heartbeat.
func (i Instance) lapse(c ExpireLease) []Event {
	if !i.Lapsed.IsZero() {
		return nil
	}
	lapsed := HealthChanged{
		Epoch: i.Epoch, From: i.Status, To: Critical, Source: FromLease, Lapsed: true, LastHeard: c.LastHeard, TTL: i.Details.TTL,
	}
	if says := i.Says(); says != Critical {
		lapsed.Reported = says
	}
	if i.Details.OnLapse != LapseCritical {
		lapsed.KeptBy = c.KeptBy
	}
	return []Event{lapsed}
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
