package queries

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// MaxReverted is how many instances one revert changes at most.
const MaxReverted = 10_000

// RevertPlan says what a revert does, told as commands.
type RevertPlan struct {
	Shown     wire.Revert
	Reversals []Reversal
}

// Reversal is the part of a plan that concerns one instance.
type Reversal struct {
	Key    domain.Key
	Events uint64 // lifecycle events of the instance that the plan saw
	Now    domain.Instance
	Steps  []ReversalStep
}

// ReversalStep is one command.
type ReversalStep struct {
	domain.RevertStep
	Reverts *wire.RevertCause
}

// PlanRevert gives the difference between an earlier state and now, told as commands: the state at a moment, or the state
// without the effect of some events. It changes nothing.
func (s *Service) PlanRevert(ctx context.Context, r wire.RevertRequest) (plan RevertPlan, err error) {
	q, err := readRevert(r)
	if err != nil {
		return plan, err
	}
	plan.Shown = wire.Revert{DryRun: r.DryRun, Steps: []wire.RevertStep{}, LeftAlone: []wire.RevertLeft{}, Skipped: []wire.RevertLeft{}}
	position := s.Live.Position()
	if r.Plan != "" {
		seen, err := wire.ParsePosition("plan", r.Plan)
		if err != nil {
			return plan, err
		}
		at, err := s.assigned(ctx, "plan", seen)
		if err != nil {
			return plan, err
		}
		q.seen = &at
	}
	if err := s.historyUpToDate(ctx); err != nil {
		return plan, err
	}
	var traces []*trace
	if q.wholeMoment() {
		traces, plan.Shown.To, err = s.tracesSince(ctx, q)
	} else {
		traces, err = s.tracesOf(ctx, q)
	}
	if err != nil {
		return plan, err
	}
	plan.Shown.Position = s.At(position)
	for _, t := range traces {
		s.plan(&plan, q, t)
		if len(plan.Reversals) > MaxReverted {
			return plan, domain.InvalidField{Field: "service", Rule: fmt.Sprintf("must pick less: more than %d instances differ", MaxReverted)}
		}
	}
	plan.Shown.Instances = len(plan.Reversals)
	return plan, nil
}

// revertQuery is a RevertRequest that was read.
type revertQuery struct {
	wire.RevertRequest
	kinds []domain.RevertKind
	seen  *eventstore.Position // of the plan that was looked at; nil: none was
}

// wholeMoment says whether the revert goes back to a moment.
func (q *revertQuery) wholeMoment() bool { return q.Event == "" && q.Actor == "" && q.Request == "" }

func readRevert(r wire.RevertRequest) (*revertQuery, error) {
	q := &revertQuery{RevertRequest: r}
	refuse := func(field, rule string) (*revertQuery, error) {
		return nil, domain.InvalidField{Field: field, Rule: rule}
	}
	named := 0
	for _, text := range []string{r.Event, r.Actor, r.Request} {
		if text != "" {
			named++
		}
	}
	switch {
	case named > 1, named == 1 && r.Actor == "" && r.To != "":
		return refuse("to", "must be alone: a revert takes back what happened since to, or event, or actor, or request")
	case named == 0 && r.To == "":
		return refuse("to", "is needed: a moment to go back to; or event, or actor, or request")
	case r.From != "" && (named == 0 || r.Event != ""):
		return refuse("from", "must be used with actor or request")
	case r.Actor != "" && r.From == "":
		return refuse("from", "is needed with actor: the moment from which on its events are taken back")
	}
	var err error
	if q.kinds, err = domain.ParseRevertKinds("kinds", r.Kinds); err != nil {
		return nil, err
	}
	if err := domain.ValidateReason(r.Reason); err != nil {
		return nil, err
	}
	if r.Namespace == "" && (named == 0 || r.Service != "") {
		q.Namespace = domain.DefaultNamespace
	}
	q.Namespace = OneNamespace(q.Namespace)
	switch {
	case r.Service == "" && r.Instance != "":
		return refuse("instance", "must be used with service")
	case q.Namespace == "" && r.Service != "":
		return refuse("namespace", "must be one namespace where a service is given")
	case q.Namespace == domain.RegistryNamespace:
		return refuse("namespace", "must not be "+domain.RegistryNamespace+": only the registry changes what is in it")
	}
	_, err = eventstore.Prefixes(q.Namespace, r.Service, r.Instance, false)
	return q, err
}

// find is the query for the history of what is selected.
func (q *revertQuery) find() history.Query {
	return history.Query{Namespace: q.Namespace, Service: q.Service, ID: q.Instance, Types: domain.LifecycleTypes}
}

// plan adds the plan of one instance.
func (s *Service) plan(plan *RevertPlan, q *revertQuery, t *trace) {
	kinds := slices.DeleteFunc(slices.Clone(q.kinds), func(k domain.RevertKind) bool { return !t.wants(k) })
	steps, left := []domain.RevertStep(nil), t.left
	if len(kinds) > 0 {
		var more []domain.LeftAlone
		steps, more = domain.Revert(domain.Reverting{
			Key: t.key, Was: t.was, Now: t.now, Lapsed: t.lapsed, Kinds: kinds, Since: slices.Collect(maps.Keys(t.since)), Events: !q.wholeMoment(), IncludeLapsed: q.IncludeLapsed,
			Reported: t.reported, HealthNamed: !q.wholeMoment() || slices.Contains(q.Kinds, string(domain.RevertHealth)), Reason: q.Reason,
		})
		left = append(left, more...)
	}
	reversal := Reversal{Key: t.key, Events: t.now.Events, Now: t.now}
	skipped := q.seen != nil && t.last > *q.seen
	skip := func(kind domain.RevertKind) {
		plan.Shown.Skipped = append(plan.Shown.Skipped, Left(t.key, kind, "changed", "it changed after the plan was made", s.cause(t.newest)))
	}
	for _, step := range steps {
		if skipped {
			skip(step.Kind)
			continue
		}
		cause := s.cause(t.causeOf(step.Kind))
		reversal.Steps = append(reversal.Steps, ReversalStep{step, cause})
		plan.Shown.Steps = append(plan.Shown.Steps, wire.RevertStep{
			Namespace: t.key.Namespace, Service: t.key.Service, ID: t.key.ID, Kind: string(step.Kind),
			Command: commandName(step.Command), Change: changeWords(step), Reverts: cause,
		})
	}
	if len(reversal.Steps) > 0 {
		plan.Reversals = append(plan.Reversals, reversal)
	}
	for _, l := range left {
		if skipped && t.leftSince(l, *q.seen) {
			skip(l.Kind)
			continue
		}
		event := t.causeOf(l.Kind)
		switch {
		case l.Why == domain.LeftChanged:
			event = t.since[l.Kind]
		case l.Why == domain.LeftSucceeded:
			event = cmp.Or(t.began, event)
		case l.Why == domain.LeftGone:
			event = cmp.Or(t.touched[domain.RevertRegistrations], event)
		}
		plan.Shown.LeftAlone = append(plan.Shown.LeftAlone, Left(t.key, l.Kind, string(l.Why), leftWords(l, event, t, s.Now()), s.cause(event)))
	}
}

// Left is something that a revert does not do.
func Left(key domain.Key, kind domain.RevertKind, why, detail string, event *wire.RevertCause) wire.RevertLeft {
	return wire.RevertLeft{Namespace: key.Namespace, Service: key.Service, ID: key.ID, Kind: string(kind), Why: why, Detail: detail, Event: event}
}

// tracesSince are the instances that differ from what they were at a moment.
func (s *Service) tracesSince(ctx context.Context, q *revertQuery) (traces []*trace, to *wire.Place, err error) {
	moment, err := s.Moment(ctx, "to", q.To)
	if err != nil {
		return nil, nil, err
	}
	if moment.Early {
		return nil, nil, domain.InvalidField{Field: "to", Rule: "must not be before the first event: nothing was registered then"}
	}
	place := moment.place(s.Timelines())
	past, err := s.Past.At(ctx, moment.Position)
	if err != nil {
		return nil, nil, err
	}
	now := s.Live.Catalog()
	any := false
	for _, service := range union(past.Services(q.Namespace), now.Services(q.Namespace)) {
		if q.Service != "" && service.Service != q.Service {
			continue
		}
		before, present := past.View(service), now.View(service)
		were, are := byID(before), byID(present)
		for _, id := range unionIDs(before, present) {
			if q.Instance != "" && id != q.Instance {
				continue
			}
			any = true
			a, b := were[id], are[id]
			if a != nil && b != nil && a.Epoch() == b.Epoch() && a.Events() == b.Events() {
				continue
			}
			t, err := s.traceSince(ctx, domain.Key{Namespace: service.Namespace, Service: service.Service, ID: id}, a, moment.Position)
			if err != nil {
				return nil, nil, err
			}
			traces = append(traces, t)
		}
	}
	if !any {
		err = s.refuseNothing(ctx, q)
	}
	return traces, &place, err
}

// refuseNothing refuses a selection that never was anything.
func (s *Service) refuseNothing(ctx context.Context, q *revertQuery) error {
	find := q.find()
	find.Types = nil
	h := HistoryQuery{Selection: Selection{Namespace: q.Namespace, Service: q.Service, Instance: q.Instance}}
	if err := s.refuseNever(ctx, &h, &find); err != nil || q.Service != "" || q.Namespace == "" {
		return err
	}
	find.Limit = 1
	page, err := s.History.Find(ctx, find)
	if err == nil && len(page.Entries) == 0 && !page.More {
		err = domain.InvalidField{Field: "namespace", Rule: "must be one that has, or had, an instance"}
	}
	return err
}

// traceSince follows an instance from a moment to now. was is its entry then; nil: it was not live.
func (s *Service) traceSince(ctx context.Context, key domain.Key, was *catalog.Entry, at eventstore.Position) (*trace, error) {
	t := newTrace(key)
	if was != nil {
		t.was = was.Instance()
		t.now = t.was
	}
	err := s.follow(ctx, t, func(e *eventstore.RecordedEvent, before domain.Instance, event domain.Event) {
		if e.Position <= at {
			t.was = t.now
			return
		}
		for _, kind := range domain.Touches(before, event) {
			t.touched[kind] = e
		}
	})
	return t, err
}
