package queries

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Probes knows which node looks at a probed check.
type Probes interface {
	// Look is when the check is looked at next, and by which node. next is zero where this node does not know it, and by
	// "" where nobody looks.
	Look(key domain.Key, check string) (next time.Time, by string)
}

// showHealth shows the checks of an entry and what they make of its status.
func showHealth(i *wire.Instance, e *catalog.Entry) {
	if !e.Watched() {
		return
	}
	if says := e.Says(); says != e.Status() {
		i.Reported = says
	}
	if lapsed := e.Lapsed(); !lapsed.IsZero() {
		i.LapsedAt = &lapsed
	}
	i.Checks = showChecks(i.Details.Checks, e.Checks())
	i.Details.Checks = nil
}

func showChecks(definitions []domain.Check, states []domain.CheckState) []wire.Check {
	if len(states) != len(definitions) || len(states) == 0 {
		return nil
	}
	checks := make([]wire.Check, len(states))
	for i, s := range states {
		checks[i] = wire.Check{Check: definitions[i], Status: s.Status, Since: s.Since, Output: s.Output, By: s.By}
	}
	return checks
}

// flapping marks the checks that flap at a moment. checks are those of the entry.
func flapping(e *catalog.Entry, checks []wire.Check, at time.Time) {
	for i, s := range e.Checks() {
		if i < len(checks) {
			checks[i].Flapping = s.Flapping(at)
		}
	}
}

// observeChecks adds to the checks of a live entry what is true now without being an event.
func (s *Service) observeChecks(e *catalog.Entry, checks []wire.Check) {
	flapping(e, checks, s.now())
	for i := range checks {
		c := &checks[i]
		switch {
		case c.Kind == domain.CheckTTL && c.Status != domain.Critical:
			if l, ok := s.Live.Leases().FindCheck(e.Key(), c.ID); ok {
				at := s.recorded(l.Deadline)
				c.LapsesAt = &at
			}
		case c.Kind.Probed() && s.Probes != nil:
			next, by := s.Probes.Look(e.Key(), c.ID)
			if !next.IsZero() {
				next = s.recorded(next)
				c.NextLook = &next
			}
			c.LookedBy = by
		}
	}
}

func (s *Service) now() time.Time {
	if s.Now == nil {
		return s.Live.Now()
	}
	return s.Now()
}

// CheckFilter picks instances, or checks, by a check. Its text is "id", "id:status" or "*:status".
type CheckFilter struct {
	ID     string        // "": any check
	Status domain.Status // "": any status
}

func parseCheckFilters(texts []string) (filters []CheckFilter, err error) {
	for _, text := range texts {
		f := CheckFilter{ID: text}
		if colon := strings.LastIndexByte(text, ':'); colon >= 0 && domain.Status(text[colon+1:]).Validate("") == nil {
			f.ID, f.Status = text[:colon], domain.Status(text[colon+1:])
		}
		if f.ID == "*" && f.Status != "" {
			f.ID = ""
		} else if f.ID == "" || f.ID == "*" || strings.HasPrefix(f.ID, "*:") {
			return nil, domain.InvalidField{Field: "check", Rule: "must be a check's id, id:status or *:status, with a status of starting, passing, warning or critical"}
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func (f CheckFilter) text() string {
	switch {
	case f.Status == "":
		return f.ID
	case f.ID == "":
		return "*:" + string(f.Status)
	}
	return f.ID + ":" + string(f.Status)
}

// match says whether an entry has such a check.
func (f CheckFilter) match(e *catalog.Entry) bool {
	return slices.ContainsFunc(e.Checks(), func(c domain.CheckState) bool {
		return (f.ID == "" || c.ID == f.ID) && (f.Status == "" || c.Status == f.Status)
	})
}

// ServiceChecks are the checks of a service's live instances, or of one of them (id). statuses limits them to those with any
// of the statuses; none: all.
func (s *Service) ServiceChecks(ctx context.Context, key domain.ServiceKey, id string, statuses []domain.Status) (wire.CheckList, error) {
	view := s.View(key)
	list := wire.CheckList{Namespace: key.Namespace, Service: key.Service, Position: s.At(view.Position), Instances: []wire.InstanceChecks{}}
	if id != "" && s.Live.Catalog().Find(domain.Key{Namespace: key.Namespace, Service: key.Service, ID: id}) == nil {
		return list, s.gone(ctx, domain.Key{Namespace: key.Namespace, Service: key.Service, ID: id}, 0)
	}
	if len(view.Entries) == 0 {
		return list, UnknownService{key}
	}
	for _, e := range view.Entries {
		if id != "" && e.ID() != id || len(e.Checks()) == 0 {
			continue
		}
		definitions, _ := domain.ConcealedChecks(e.Details().Checks)
		checks := showChecks(definitions, e.Checks())
		s.observeChecks(e, checks)
		checks = slices.DeleteFunc(checks, func(c wire.Check) bool { return len(statuses) > 0 && !slices.Contains(statuses, c.Status) })
		if len(checks) > 0 {
			list.Instances = append(list.Instances, wire.InstanceChecks{Namespace: key.Namespace, Service: key.Service, ID: e.ID(), Status: e.Status(), Checks: checks})
		}
	}
	return list, nil
}

// ParseStatuses reads lists of statuses with commas between them.
func ParseStatuses(lists []string) ([]domain.Status, error) { return parseStatuses(lists) }

// ProbedCheck is a check that the registry must look at.
type ProbedCheck struct {
	Check    domain.Check
	Revision uint64 // of the definition, for domain.ReportProbe
	Status   domain.Status
	Since    time.Time
}

// ProbedInstance are the probed checks of one instance; none: it has none, or is not live any more.
type ProbedInstance struct {
	Key     domain.Key
	Epoch   uint64
	Address string
	Ports   map[string]uint16
	Checks  []ProbedCheck
}

// ProbedUpdate tells what changed. After a Reset, instances that are not among Instances have no probed checks.
type ProbedUpdate struct {
	Reset     bool
	Instances []ProbedInstance
}

// ProbedChecks yields all probed checks of the live catalog, and then the instances whose checks, address or ports may have
// changed, as long as the context and the registry last. An instance without probed checks is told of only after it had some.
func (s *Service) ProbedChecks(ctx context.Context) iter.Seq[ProbedUpdate] {
	return func(yield func(ProbedUpdate) bool) {
		changed, stop := s.Live.Feed().Watch(domain.ServiceKey{})
		defer stop()
		var at eventstore.Position
		for reset := true; ; {
			var update ProbedUpdate
			if reset {
				at = s.Live.Feed().Position()
				update = ProbedUpdate{Reset: true, Instances: s.probed()}
			} else {
				changes, ok := s.Live.Feed().Since(domain.ServiceKey{}, at)
				if reset = !ok; reset {
					continue
				}
				for _, c := range changes {
					at = c.Position()
					if update.Instances = append(update.Instances, probedChange(c.Before, c.After)...); ctx.Err() != nil {
						return
					}
				}
			}
			if (reset || len(update.Instances) > 0) && !yield(update) {
				return
			}
			reset = false
			select {
			case <-ctx.Done():
				return
			case <-s.stopping():
				return
			case <-changed:
			}
		}
	}
}

// stopping is closed when the registry stops; nil: it does not tell.
func (s *Service) stopping() <-chan struct{} {
	if s.Stopping == nil {
		return nil
	}
	return s.Stopping.Done()
}

func (s *Service) probed() (all []ProbedInstance) {
	for e := range s.Live.Catalog().All {
		if probes(e) {
			all = append(all, probedInstance(e))
		}
	}
	slices.SortFunc(all, func(a, b ProbedInstance) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return all
}

// probedChange is what a change of the catalog means for the probes; none: nothing.
func probedChange(before, after *catalog.Entry) []ProbedInstance {
	switch {
	case after != nil && probes(after):
		return []ProbedInstance{probedInstance(after)}
	case before != nil && probes(before):
		return []ProbedInstance{{Key: before.Key(), Epoch: before.Epoch()}}
	}
	return nil
}

func probes(e *catalog.Entry) bool {
	return slices.ContainsFunc(e.Checks(), func(c domain.CheckState) bool { return c.Kind.Probed() })
}

func probedInstance(e *catalog.Entry) ProbedInstance {
	d := e.Details()
	p := ProbedInstance{Key: e.Key(), Epoch: e.Epoch(), Address: d.Address, Ports: d.Ports}
	states := e.Checks()
	if len(states) != len(d.Checks) {
		return p
	}
	for i, c := range states {
		if c.Kind.Probed() {
			d.Checks[i].ID = c.ID // the same text, but in the memory of the entry
			p.Checks = append(p.Checks, ProbedCheck{Check: d.Checks[i], Revision: c.Revision, Status: c.Status, Since: c.Since})
		}
	}
	return p
}
