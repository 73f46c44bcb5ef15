package catalog

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// counts are numbers of a service's instances and checks. A service has them from the first question on, and each change keeps them, so that
// who asks again and again, as a monitoring system does, does not look at every instance.
//
// INVARIANT: while a service has counts, they are those of its entries. They are guarded by the service's mutex.
type counts struct {
	instances [len(statuses)][len(traffics)]int
	checks    map[CheckGroup]int
	restless  map[*Entry]struct{} // entries with a check whose changes may be so many that it is flapping
}

// CheckGroup is what checks are counted by.
type CheckGroup struct {
	Kind   domain.CheckKind
	Status domain.Status
}

// Counts are numbers of instances and checks.
type Counts struct {
	Instances map[InstanceGroup]int
	Checks    map[CheckGroup]int
	Flapping  map[domain.CheckKind]int
}

// InstanceGroup is what instances are counted by.
type InstanceGroup struct {
	Service domain.ServiceKey
	Status  domain.Status
	Traffic domain.Traffic
}

// Counts counts the instances, and their checks, of all services but the registry's own. Groups of none are left out.
func (c *Catalog) Counts(now time.Time) Counts {
	all := Counts{map[InstanceGroup]int{}, map[CheckGroup]int{}, map[domain.CheckKind]int{}}
	for s := range c.all {
		if Within("", s.key.Namespace) {
			s.countInto(all, now)
		}
	}
	return all
}

func (s *service) countInto(all Counts, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = new(counts)
		for _, e := range s.entries {
			s.counts.changed(nil, e)
		}
	}
	for status, byTraffic := range s.counts.instances {
		for traffic, n := range byTraffic {
			if n > 0 {
				all.Instances[InstanceGroup{s.key, statuses[status], traffics[traffic]}] = n
			}
		}
	}
	for group, n := range s.counts.checks {
		all.Checks[group] += n
	}
	for e := range s.counts.restless {
		flapping := false
		for _, check := range e.Checks() {
			if check.Flapping(now) {
				all.Flapping[check.Kind]++
				flapping = true
			}
		}
		if !flapping {
			delete(s.counts.restless, e) // without a further change it never flaps again
		}
	}
}

// changed notes a change of an instance. Either is nil if the instance is not registered.
func (c *counts) changed(was, now *Entry) {
	if was != nil {
		c.instances[was.status][was.marks.traffic()]--
		c.add(was, -1)
		delete(c.restless, was)
	}
	if now != nil {
		c.instances[now.status][now.marks.traffic()]++
		if c.add(now, 1) {
			if c.restless == nil {
				c.restless = map[*Entry]struct{}{}
			}
			c.restless[now] = struct{}{}
		}
	}
}

// add counts the checks of an entry, and says whether one of them may be flapping.
func (c *counts) add(e *Entry, by int) (restless bool) {
	for _, check := range e.Checks() {
		group := CheckGroup{check.Kind, check.Status}
		if c.checks == nil {
			c.checks = map[CheckGroup]int{}
		}
		if c.checks[group] += by; c.checks[group] == 0 {
			delete(c.checks, group)
		}
		restless = restless || len(check.Changes) == domain.FlappingChanges
	}
	return restless
}
