package traces

import "github.com/rollcall-registry/rollcall/domain"

// State is what reports tell of an instance at a moment. The zero State is of an instance that is not live.
type State struct {
	*Details // nil: the instance is not live
	Epoch    uint64
	Status   Status
	Says     Status
	Traffic  TrafficState
	Lapsed   bool // the lease lapsed to critical, and no heartbeat came since
	Checks   bool // the instance has, or had, checks in this registration
}

// Live says whether the instance is in the catalog.
func (s *State) Live() bool { return s.Details != nil }

// Ready says whether the instance may get traffic.
func (s *State) Ready() bool {
	return s.Live() && s.Traffic == serving && (s.Status == passing || s.Status == warning)
}

// StateOf is the state of an instance.
func StateOf(i *domain.Instance) State {
	if !i.Live() {
		return State{}
	}
	return State{
		Details: &Details{i.Epoch, i.Owner, i.Details.Zone, i.Details.Version}, Epoch: i.Epoch, Status: statusOf(i.Status), Says: statusOf(i.Says()),
		Traffic: trafficOf(i.Traffic), Lapsed: !i.Lapsed.IsZero(), Checks: len(i.Checks) > 0,
	}
}

// After is the state after a step. What is possible only for a live instance changes nothing where none is live: another
// program wrote it.
func (s State) After(step *Step) State {
	if step.Kind == Registered {
		return State{Details: step.New, Epoch: step.New.Begins, Status: step.Status, Says: step.Says, Traffic: step.Traffic, Checks: step.Checks}
	}
	if !s.Live() {
		return s
	}
	if step.Changes() {
		s.Change(step)
		return s
	}
	switch step.Kind {
	case Updated:
		s.Details, s.Lapsed, s.Checks = step.New, false, step.Checks
		if step.Says != 0 {
			s.Says = step.Says
		}
		s.Status = s.Says
		if step.Checks && step.Status != 0 {
			s.Status = step.Status
		}
	case Health: // of the lease
		s.Lapsed = step.Lapsed || s.Lapsed && !step.Lease
		s.says(step)
	case Check:
		s.Checks = s.Checks || step.Checks
		if step.Status != 0 {
			s.Status = step.Status
		}
	case Deregistered, Expired:
		return State{}
	}
	return s
}

// Changes says whether a step changes only the status or the traffic state of a live instance, and the lease had no part in it.
func (s *Step) Changes() bool {
	return s.Kind == Traffic || s.Kind == Health && !s.Lease && !s.Lapsed
}

// Change applies a step that Changes says yes of. REQUIRES: the instance is live.
func (s *State) Change(step *Step) {
	if step.Kind == Traffic {
		s.Traffic = step.Traffic
		return
	}
	s.says(step)
}

// says applies what the instance says of itself.
func (s *State) says(step *Step) {
	s.Says = step.Says
	switch {
	case s.Lapsed:
		s.Status = critical
	case s.Checks:
		s.Status = step.Status
	default:
		s.Status = step.Says
	}
}
