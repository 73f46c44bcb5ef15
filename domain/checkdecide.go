package domain

import (
	"strings"
	"time"
)

// trial is the record with which an event is tried out: what Evolve makes of an event tells the instance's status after it.
var trial = Recorded{At: time.Unix(0, 0)}

// statusAfter gives the status after an event, and the status before it, if that is another.
func (i Instance) statusAfter(event Event) (status, previous Status) {
	after := Evolve(i, event, trial)
	if after.Status != i.Status {
		previous = i.Status
	}
	return after.Status, previous
}

func (i Instance) addCheck(c AddCheck) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch, c.Owner, c.Holder); err != nil {
		return nil, err
	}
	check := c.Check.Normalize()
	if err := check.Validate(""); err != nil {
		return nil, err
	}
	at := checkIndex(i.Details.Checks, check.ID)
	if at >= 0 && i.Details.Checks[at].Equal(check) {
		return nil, nil
	}
	if err := validateChecks(withCheck(i.Details.Checks, check)); err != nil {
		return nil, err
	}
	added := CheckAdded{Epoch: i.Epoch, Check: check, Replaces: at >= 0}
	added.Status, added.PreviousStatus = i.statusAfter(added)
	return []Event{added}, nil
}

func (i Instance) removeCheck(c RemoveCheck) ([]Event, error) {
	if _, err := i.checkFor(c.Key, c.Epoch, c.Owner, c.Holder, c.Check); err != nil {
		return nil, err
	}
	removed := CheckRemoved{Epoch: i.Epoch, Check: c.Check}
	removed.Status, removed.PreviousStatus = i.statusAfter(removed)
	return []Event{removed}, nil
}

// reportCheck changes a ttl check, or renews it where its status stays.
func (i Instance) reportCheck(c ReportCheck) ([]Event, error) {
	renewed, check, err := i.Renewal(c)
	switch {
	case err != nil:
		return nil, err
	case renewed:
		return []Event{HeartbeatReceived{Epoch: i.Epoch, Check: c.Check}}, nil
	}
	return i.changeCheck(check, CheckChanged{To: c.Status, Cause: CheckReported, Output: CleanOutput(c.Output)}), nil
}

// Renewal decides a report of a ttl check as Decide does: whether it only renews the check's ttl, or why it is refused.
func (i *Instance) Renewal(c ReportCheck) (renews bool, check CheckState, err error) {
	check, err = i.checkFor(c.Key, c.Epoch, c.Owner, c.Holder, c.Check)
	if err == nil && check.Kind != CheckTTL {
		err = InvalidField{Field: "check", Rule: "must be a ttl check: the registry looks itself at a check of kind " + string(check.Kind)}
	}
	return err == nil && check.Status == c.Status, check, err
}

func (i Instance) reportProbe(c ReportProbe) ([]Event, error) {
	check, err := i.checkFor(c.Key, c.Epoch, "", "", c.Check)
	switch {
	case err != nil:
		return nil, err
	case !check.Kind.Probed() || check.Revision != c.Revision:
		return nil, StaleCheck{Key: c.Key, Check: c.Check, Revision: c.Revision, Live: check.Revision}
	case i.movedSince(&c):
		return nil, StaleCheck{Key: c.Key, Check: c.Check, Revision: c.Revision, Live: check.Revision, Moved: true}
	case check.Status == c.Status:
		return nil, nil
	}
	return i.changeCheck(check, CheckChanged{
		To: c.Status, Cause: CheckProbed, Output: CleanOutput(c.Output), By: c.By, Latency: Duration(c.Latency), Looks: c.Looks,
	}), nil
}

// movedSince says whether the instance has another address than a node looked at, or another port under the name that the
// check has.
func (i *Instance) movedSince(c *ReportProbe) bool {
	at := checkIndex(i.Details.Checks, c.Check)
	if c.Address == "" || at < 0 {
		return false
	}
	name := i.Details.Checks[at].Port
	return c.Address != i.Details.Address || name != "" && c.Port != i.Details.Ports[name]
}

func (i Instance) lapseCheck(c LapseCheck) ([]Event, error) {
	check, err := i.checkFor(c.Key, c.Epoch, "", "", c.Check)
	switch {
	case err != nil:
		return nil, err
	case check.Kind != CheckTTL || check.Revision != c.Revision:
		return nil, StaleCheck{Key: c.Key, Check: c.Check, Revision: c.Revision, Live: check.Revision}
	case check.Status == Critical:
		return nil, nil
	}
	return i.changeCheck(check, CheckChanged{To: Critical, Cause: CheckLapsed, TTL: check.TTL, Last: c.Last, Began: c.Began, Output: lapsedOutput(check.Output)}), nil
}

// lapsedOutput is the output of a ttl check that lapsed, whose newest output is given.
func lapsedOutput(last string) string {
	const expired = "TTL expired"
	if last == "" || strings.HasPrefix(last, expired) {
		return expired
	}
	return CleanOutput(expired + " (last output before timeout follows): " + last)
}

func (i Instance) changeCheck(check CheckState, e CheckChanged) []Event {
	e.Epoch, e.Check, e.Kind, e.From = i.Epoch, check.ID, check.Kind, check.Status
	e.Status, e.PreviousStatus = i.statusAfter(e)
	return []Event{e}
}

// removeCritical removes the instance if what it is removed for is still critical, and is so since the same moment.
func (i Instance) removeCritical(c RemoveCritical) ([]Event, error) {
	if err := i.refuse(c.Key, c.Epoch, "", ""); err != nil {
		return nil, err
	}
	if c.Check == "" {
		if i.Lapsed.IsZero() || !i.Lapsed.Equal(c.Since) || i.Details.RemoveAfter == 0 {
			return nil, nil
		}
		return []Event{LeaseExpired{
			Epoch: i.Epoch, TTL: i.Details.TTL, Late: Duration(c.Late), CriticalSince: i.Lapsed, RemoveAfter: i.Details.RemoveAfter,
		}}, nil
	}
	check, ok := i.Check(c.Check)
	if !ok || check.Status != Critical || !check.Since.Equal(c.Since) || check.RemoveAfter == 0 {
		return nil, nil
	}
	return []Event{InstanceDeregistered{
		Epoch: i.Epoch, Reason: "check " + check.ID + " stayed critical", Check: check.ID, CriticalSince: check.Since, RemoveAfter: check.RemoveAfter,
	}}, nil
}

// checkFor is the check that a command is for, or why the command cannot be carried out.
func (i *Instance) checkFor(key Key, epoch uint64, owner, holder, id string) (CheckState, error) {
	if err := i.refuse(key, epoch, owner, holder); err != nil {
		return CheckState{}, err
	}
	check, ok := i.Check(id)
	if !ok {
		return check, UnknownCheck{Key: key, Check: id}
	}
	return check, nil
}

// withChecks fills in what an update or a registration of an instance with checks says, beside what the client says. kept
// are the checks of an instance whose registration names none.
func withChecks(d Details, kept []Check) (Details, error) {
	if d.Checks == nil && len(kept) > 0 {
		d.Checks = kept
		if err := validateChecks(d.Checks); err != nil {
			return d, err
		}
	}
	if len(d.Checks) == 0 {
		d.Checks = nil
	}
	return d, nil
}
