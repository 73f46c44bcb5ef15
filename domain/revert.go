package domain

import "slices"

// RevertKind is a part of an instance's state that a revert restores by itself.
type RevertKind string

// The kinds, in the order in which a revert restores them.
const (
	RevertRegistrations RevertKind = "registrations" // whether the instance is registered
	RevertTraffic       RevertKind = "traffic"       // draining and maintenance
	RevertHealth        RevertKind = "health"        // what the instance says of itself
	RevertChecks        RevertKind = "checks"        // the definitions of its checks
	RevertMetadata      RevertKind = "metadata"      // every other detail of the registration
)

// RevertKinds are all kinds.
func RevertKinds() []RevertKind {
	return []RevertKind{RevertRegistrations, RevertTraffic, RevertHealth, RevertChecks, RevertMetadata}
}

// ParseRevertKinds reads the names of kinds; none are all kinds.
func ParseRevertKinds(field string, names []string) ([]RevertKind, error) {
	kinds := make([]RevertKind, 0, len(names))
	for i, name := range names {
		if !slices.Contains(RevertKinds(), RevertKind(name)) {
			return nil, InvalidField{Field: element(field, i), Rule: "must be of registrations, traffic, health, checks, metadata"}
		}
		kinds = append(kinds, RevertKind(name))
	}
	if len(kinds) == 0 {
		return RevertKinds(), nil
	}
	return kinds, nil
}

// ValidateReason holds the reason of a decision to the limits.
func ValidateReason(reason string) error { return validateText("reason", reason, 0, MaxReason) }

// Reverting says how one instance is to be brought back to an earlier state.
type Reverting struct {
	Key    Key
	Was    Instance // the state that is wanted
	Now    Instance // the newest state
	Lapsed bool     // Now is not live because its lease lapsed, or because a check stayed critical
	Kinds  []RevertKind
	// Events says that what is reverted are events, of which the kinds are what they changed. Otherwise it is what a moment differs in.
	Events bool
	// Since are the kinds that something else has changed after what is reverted. They are left alone.
	Since []RevertKind
	// IncludeLapsed brings back what lapsed, too.
	IncludeLapsed bool
	// Reported says that the instance reported its present health itself. Such health is left alone unless HealthNamed.
	Reported, HealthNamed bool
	Reason                string // of the commands; "": none
}

// RevertStep is one command of a revert.
type RevertStep struct {
	Kind     RevertKind
	Command  Command
	From, To string // what changes, in words
}

// LeftAlone says why a revert does not restore a kind of an instance.
type LeftAlone struct {
	Kind RevertKind
	Why  LeftWhy
	Rule error // of LeftInvalid
}

// LeftWhy is a reason for leaving something alone.
type LeftWhy string

// The reasons.
const (
	LeftLapsed    LeftWhy = "lapsed"     // the instance went silent, or a check stayed critical: nobody decided to take it out
	LeftGone      LeftWhy = "gone"       // the instance is not registered now
	LeftSucceeded LeftWhy = "succeeded"  // another registration is live: what its process says of itself stands
	LeftReported  LeftWhy = "reported"   // the instance said so itself
	LeftSilent    LeftWhy = "silent"     // its lease lapsed to critical: a registration would say that it was heard
	LeftInvalid   LeftWhy = "invalid"    // today's limits refuse what was
	LeftChanged   LeftWhy = "changed"    // something else changed it since
	LeftFound     LeftWhy = "found"      // a result of a check says what was seen
	LeftReplaced  LeftWhy = "replaced"   // the process that was replaced cannot be brought back
	LeftOwnChange LeftWhy = "own-change" // the lease lapsed to critical, or was renewed: only heartbeats change that
)

// Revert tells the difference between two states of an instance as commands, and what it leaves alone. It is empty where
// the states do not differ in the kinds.
func Revert(r Reverting) (steps []RevertStep, left []LeftAlone) {
	switch {
	case r.Was.Live() && r.Now.Live():
		return r.restore()
	case r.Was.Live():
		return r.comeBack()
	case r.Now.Live() && r.wants(RevertRegistrations) && r.changed(RevertRegistrations):
		return nil, []LeftAlone{{Kind: RevertRegistrations, Why: LeftChanged}}
	case r.Now.Live() && r.wants(RevertRegistrations):
		return []RevertStep{{
			Kind: RevertRegistrations, From: "registered", To: "deregistered",
			Command: DeregisterInstance{Key: r.Key, Epoch: r.Now.Epoch, Reason: r.Reason},
		}}, nil
	case !r.Now.Live() && r.Events && !r.wants(RevertRegistrations):
		return nil, []LeftAlone{{Kind: r.Kinds[0], Why: LeftGone}}
	}
	return nil, nil
}

func (r *Reverting) wants(kind RevertKind) bool   { return slices.Contains(r.Kinds, kind) }
func (r *Reverting) changed(kind RevertKind) bool { return slices.Contains(r.Since, kind) }

// restore is the revert of an instance that is live, and was.
func (r *Reverting) restore() (steps []RevertStep, left []LeftAlone) {
	leave := func(kind RevertKind, why LeftWhy) { left = append(left, LeftAlone{Kind: kind, Why: why}) }
	other := r.Was.Epoch != r.Now.Epoch
	if r.Was.Owner != r.Now.Owner && r.wants(RevertRegistrations) {
		leave(RevertRegistrations, LeftSucceeded)
	}
	if step, differs := r.traffic(r.Now); differs {
		switch {
		case other && r.Was.Traffic == Draining: // draining belongs to the epoch
			leave(RevertTraffic, LeftSucceeded)
		case r.changed(RevertTraffic):
			leave(RevertTraffic, LeftChanged)
		default:
			steps = append(steps, step)
		}
	}
	if was, now := r.Was.Says(), r.Now.Says(); r.wants(RevertHealth) && was != now {
		switch {
		case other:
			leave(RevertHealth, LeftSucceeded)
		case r.Reported && !r.HealthNamed:
			leave(RevertHealth, LeftReported)
		case r.changed(RevertHealth):
			leave(RevertHealth, LeftChanged)
		default:
			steps = append(steps, RevertStep{
				Kind: RevertHealth, From: string(now), To: string(was),
				Command: ReportHealth{Key: r.Key, Epoch: r.Now.Epoch, Status: was, Source: FromOperator, Output: r.Reason},
			})
		}
	}
	moreSteps, moreLeft := r.details(other)
	return append(steps, moreSteps...), append(left, moreLeft...)
}

// traffic is the step to the wanted traffic state from the traffic of a live instance.
func (r *Reverting) traffic(now Instance) (step RevertStep, differs bool) {
	if !r.wants(RevertTraffic) || r.Was.Traffic == now.Traffic {
		return step, false
	}
	return RevertStep{
		Kind: RevertTraffic, From: string(now.Traffic), To: string(r.Was.Traffic),
		Command: ChangeTraffic{Key: r.Key, Epoch: now.Epoch, Traffic: r.Was.Traffic, Reason: r.Reason},
	}, true
}

// details is the step to the wanted details of a live instance. Metadata and checks are judged each by itself, and what may be
// restored of them is restored by one command. other: the live epoch is not the one whose state is wanted.
func (r *Reverting) details(other bool) (steps []RevertStep, left []LeftAlone) {
	differ := r.Now.Details.Normalize().Diff(r.Was.Details.Normalize())
	differ = slices.DeleteFunc(differ, func(field string) bool { return field == "status" || !r.wants(kindOf(field)) })
	var kinds []RevertKind // to restore
	for _, kind := range []RevertKind{RevertMetadata, RevertChecks} {
		switch {
		case !slices.ContainsFunc(differ, func(field string) bool { return kindOf(field) == kind }):
		case other:
			left = append(left, LeftAlone{Kind: kind, Why: LeftSucceeded})
		case !r.Now.Lapsed.IsZero():
			left = append(left, LeftAlone{Kind: kind, Why: LeftSilent})
		case r.changed(kind):
			left = append(left, LeftAlone{Kind: kind, Why: LeftChanged})
		default:
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return nil, left
	}
	update := RegisterInstance{Key: r.Key, Owner: r.Now.Owner, Epoch: r.Now.Epoch, Details: r.mixed(kinds)}
	if err := update.Validate(); err != nil {
		for _, kind := range kinds {
			left = append(left, LeftAlone{Kind: kind, Why: LeftInvalid, Rule: err})
		}
		return nil, left
	}
	differ = slices.DeleteFunc(differ, func(field string) bool { return !slices.Contains(kinds, kindOf(field)) })
	return []RevertStep{{Kind: kinds[0], To: words(differ) + " as before", Command: update}}, left
}

// kindOf is the kind of a field of Details other than status.
func kindOf(field string) RevertKind {
	if field == "checks" {
		return RevertChecks
	}
	return RevertMetadata
}

// mixed are the details that are wanted: those of the kinds as they were, and the others as they are.
func (r *Reverting) mixed(kinds []RevertKind) Details {
	d := r.Now.Details
	if slices.Contains(kinds, RevertMetadata) {
		d = r.Was.Details
	}
	d.Checks = r.Now.Details.Checks
	if slices.Contains(kinds, RevertChecks) {
		d.Checks = r.Was.Details.Checks
	}
	if d.Checks == nil {
		d.Checks = []Check{} // a registration without checks would keep the present ones
	}
	d.Status = ""
	return d
}

// comeBack is the revert of an instance that is not live, and was. It comes back as its owner's registration.
func (r *Reverting) comeBack() (steps []RevertStep, left []LeftAlone) {
	if !r.wants(RevertRegistrations) {
		return nil, []LeftAlone{{Kind: r.Kinds[0], Why: LeftGone}}
	}
	if r.Lapsed && !r.IncludeLapsed {
		return nil, []LeftAlone{{Kind: RevertRegistrations, Why: LeftLapsed}}
	}
	if r.changed(RevertRegistrations) { // and nothing comes back with it
		return nil, []LeftAlone{{Kind: RevertRegistrations, Why: LeftChanged}}
	}
	details := r.Was.Details
	details.Status = r.Was.Says()
	register := RegisterInstance{Key: r.Key, Owner: r.Was.Owner, CreateOnly: true, Details: details}
	err := register.Validate()
	var events []Event
	if err == nil {
		events, err = Decide(r.Now, register)
	}
	if err != nil {
		return nil, []LeftAlone{{Kind: RevertRegistrations, Why: LeftInvalid, Rule: err}}
	}
	steps = []RevertStep{{Kind: RevertRegistrations, From: "gone", To: "registered again", Command: register}}
	back := r.Now
	for _, e := range events {
		back = Evolve(back, e, trial)
	}
	if step, differs := r.traffic(back); differs && r.changed(RevertTraffic) {
		left = append(left, LeftAlone{Kind: RevertTraffic, Why: LeftChanged})
	} else if differs {
		steps = append(steps, step)
	}
	return steps, left
}

func words(fields []string) (text string) {
	for i, field := range fields {
		switch {
		case i == 0:
		case i == len(fields)-1:
			text += " and "
		default:
			text += ", "
		}
		text += field
	}
	return text
}

// Touches are the kinds of an instance's state that an event changed. before is the state before the event.
func Touches(before Instance, event Event) (kinds []RevertKind) {
	switch e := event.(type) {
	case InstanceRegistered, InstanceDeregistered, LeaseExpired:
		return []RevertKind{RevertRegistrations}
	case InstanceUpdated:
		status := false
		for _, field := range e.Changed {
			switch field {
			case "status", "reported":
				status = true
			case "checks":
				kinds = append(kinds, RevertChecks)
			default:
				if !slices.Contains(kinds, RevertMetadata) {
					kinds = append(kinds, RevertMetadata)
				}
			}
		}
		if status {
			kinds = append(kinds, RevertHealth)
		}
		return kinds
	case HealthChanged:
		if e.Source != FromLease {
			return []RevertKind{RevertHealth}
		}
	case TrafficChanged:
		return []RevertKind{RevertTraffic}
	case CheckAdded, CheckRemoved:
		return []RevertKind{RevertChecks}
	}
	return nil
}
