package live

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Thresholds are the policies with a panic threshold. It is immutable.
//
// They are folded here, in the order of the log, and not taken from projections/policies: a policy that begins or ends to be
// for a service changes what lookups of the service give, as an event of an instance does.
type Thresholds struct {
	policies domain.Policies
	ever     bool             // there was a threshold once
	all      []*domain.Policy // the greatest threshold first, then by name
}

// None says that there is no threshold, and never was one: nobody was ever told of a panic.
func (t *Thresholds) None() bool { return !t.ever }

// Panic is the policy of a service for which too few of its instances are ready; nil: there is none. Of several policies, it
// is the one with the greatest threshold.
func (t *Thresholds) Panic(service domain.ServiceKey, ready, total int) *domain.Policy {
	if service.Namespace == domain.RegistryNamespace { // the nodes' own: applyPolicy touches none of these
		return nil
	}
	for _, p := range t.all {
		if !p.Panics(ready, total) { // nor does it by those that follow, which are not greater
			return nil
		}
		if p.Matches(service) {
			return p
		}
	}
	return nil
}

// greatestFirst orders policies by their thresholds, the greatest first, then by name.
func greatestFirst(a, b *domain.Policy) int {
	return cmp.Or(b.PanicThreshold.Of(100)-a.PanicThreshold.Of(100), strings.Compare(a.Name, b.Name))
}

// after is the state after the next event of the stream of policies, with the specifications that began or ended. An event
// that cannot be read sets nothing.
func (t *Thresholds) after(e *eventstore.RecordedEvent) (next *Thresholds, concerned []domain.PolicySpec) {
	if uint64(e.Revision) < t.policies.Events { // loadThresholds has read ahead
		return t, nil
	}
	next = &Thresholds{policies: t.policies, ever: t.ever, all: t.all}
	event, err := eventstore.Decode(e)
	if err == nil {
		next.policies = t.policies.Apply(event, eventstore.RecordOf(e))
	}
	next.policies.Events = uint64(e.Revision) + 1
	var name string
	switch e := event.(type) {
	case domain.PolicySet:
		name = e.Name
	case domain.PolicyRemoved:
		name = e.Name
	}
	before, now := t.policies.Find(name), next.policies.Find(name)
	if before != nil && before.PanicThreshold != "" {
		at, _ := slices.BinarySearchFunc(next.all, before, greatestFirst)
		next.all = slices.Delete(slices.Clone(next.all), at, at+1)
		concerned = append(concerned, before.PolicySpec)
	}
	if now != nil && now.PanicThreshold != "" {
		at, _ := slices.BinarySearchFunc(next.all, now, greatestFirst)
		next.all = slices.Insert(slices.Clone(next.all), at, now)
		concerned = append(concerned, now.PolicySpec)
	}
	next.ever = t.ever || len(concerned) > 0
	return next, concerned
}

// loadThresholds reads the stream of policies.
func (s *State) loadThresholds(ctx context.Context) error {
	t := &Thresholds{}
	for e, err := range s.opts.Store.ReadStream(ctx, eventstore.PolicyStream, eventstore.ReadOptions{}) {
		if err != nil {
			return err
		}
		t, _ = t.after(&e)
	}
	s.thresholds.Store(t)
	return nil
}

// applyPolicy applies an event of a policy. Services whose answers may be others now get another view, at the position of
// the event, and whoever waits for changes to them is woken.
//
// INVARIANT: views of before were judged by the thresholds of before, or of now. Views of after are judged by those of now.
// So who sees touched grow, finds in the views of all services what they are judged as now.
func (s *State) applyPolicy(e *eventstore.RecordedEvent) {
	next, concerned := s.thresholds.Load().after(e)
	s.thresholds.Store(next)
	s.touch(concerned, e.Position)
}

// touchAll is touch of all services that a threshold is for. It is called when the thresholds could not be read at the start.
func (s *State) touchAll() {
	var specs []domain.PolicySpec
	for _, p := range s.thresholds.Load().all {
		specs = append(specs, p.PolicySpec)
	}
	s.touch(specs, max(s.Position(), s.Catalog().Changed()))
}

// touch gives the services that specifications are for another view.
func (s *State) touch(concerned []domain.PolicySpec, at eventstore.Position) {
	if len(concerned) == 0 {
		return
	}
	matching := s.Catalog().Matching(concerned)
	s.changing.Lock()
	for _, key := range matching {
		s.Catalog().Touch(key, at)
	}
	s.changing.Unlock()
	s.touched.Add(1)
	for _, key := range matching {
		s.feed.Wake(key)
	}
}

// Touched is a number that grows when a change of policies gave services another view.
func (s *State) Touched() uint64 { return s.touched.Load() }

// Thresholds are the policies with a panic threshold, as they are.
func (s *State) Thresholds() *Thresholds { return s.thresholds.Load() }
