package domain

import (
	"slices"
	"time"
)

// CheckState is the state of one check of a live instance.
type CheckState struct {
	ID          string
	Kind        CheckKind
	TTL         Duration // of a ttl check
	RemoveAfter Duration // 0: never
	Status      Status
	Since       time.Time // when the event that led to Status was recorded
	Output      string    // of that event
	By          string    // the node that looked; "": no node did
	// Revision is that of the lifecycle event that has the check's definition. A result of an older definition means nothing.
	Revision uint64
	// Changes are the times of the newest changes of status, at most FlappingChanges. Flapping looks at them.
	Changes []time.Time
}

// A check is flapping when its status changed this often within that time. It is an observation: nothing follows from it.
const (
	FlappingChanges = 6
	FlappingWithin  = 10 * time.Minute
)

// Flapping says whether the check's status changed very often just before a moment.
func (s CheckState) Flapping(at time.Time) bool {
	return len(s.Changes) == FlappingChanges && at.Sub(s.Changes[0]) <= FlappingWithin
}

// begin is the state of a check that has not answered yet.
func begin(c Check, revision uint64, at time.Time) CheckState {
	return CheckState{ID: c.ID, Kind: CheckKindOf(c.Kind), TTL: c.TTL, RemoveAfter: c.RemoveAfter, Status: c.Initial(), Since: at, Revision: revision}
}

// redefined is the state of a check that gets another definition. A check that asks the same question keeps its answer.
func (s CheckState) redefined(before, now Check, revision uint64, at time.Time) CheckState {
	if before.Equal(now) {
		return s
	}
	if !before.sameTest(now) {
		return begin(now, revision, at)
	}
	s.TTL, s.RemoveAfter, s.Revision = now.TTL, now.RemoveAfter, revision
	return s
}

// changed is the state after a change of status.
func (s CheckState) changed(e CheckChanged, at time.Time) CheckState {
	s.Status, s.Since, s.Output, s.By = e.To, at, e.Output, e.By
	kept := s.Changes[max(0, len(s.Changes)+1-FlappingChanges):]
	s.Changes = append(slices.Clone(kept), at)
	return s
}

// redefine is the states of checks that are defined anew.
func redefine(states []CheckState, before, now []Check, revision uint64, at time.Time) []CheckState {
	if len(now) == 0 {
		return nil
	}
	after := make([]CheckState, len(now))
	for i, c := range now {
		was, defined := stateIndex(states, c.ID), checkIndex(before, c.ID)
		if was < 0 || defined < 0 {
			after[i] = begin(c, revision, at)
		} else {
			after[i] = states[was].redefined(before[defined], c, revision, at)
		}
	}
	return after
}

func stateIndex(states []CheckState, id string) int {
	return slices.IndexFunc(states, func(s CheckState) bool { return s.ID == id })
}

// Check is the state of one of the instance's checks; false: the instance has no such check.
func (i *Instance) Check(id string) (CheckState, bool) {
	if at := stateIndex(i.Checks, id); at >= 0 {
		return i.Checks[at], true
	}
	return CheckState{}, false
}

// severity orders the statuses: the worst of an instance's is the greatest.
func (s Status) severity() int {
	return slices.Index([]Status{Passing, Warning, Starting, Critical}, s)
}

// settle computes the status of an instance with checks, or whose lease lapsed. Of every other instance, the status is what
// it says of itself.
func (i Instance) settle(reported Status) Instance {
	i.Status, i.Reported = reported, ""
	if len(i.Checks) == 0 && i.Lapsed.IsZero() {
		return i
	}
	i.Reported = reported
	for _, c := range i.Checks {
		if c.Status.severity() > i.Status.severity() {
			i.Status = c.Status
		}
	}
	if !i.Lapsed.IsZero() {
		i.Status = Critical
	}
	return i
}

// Says is what the instance says of itself. Its status may be worse.
func (i *Instance) Says() Status {
	if i.Reported == "" {
		return i.Status
	}
	return i.Reported
}
