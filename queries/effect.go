package queries

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// picked are the events that a revert takes back, by their streams.
type picked map[domain.Key]map[eventstore.Position]bool

// tracesOf are the instances that the picked events changed. What is wanted of each is its state without their effect.
func (s *Service) tracesOf(ctx context.Context, q *revertQuery) (traces []*trace, err error) {
	events, err := s.pick(ctx, q)
	if err != nil {
		return nil, err
	}
	keys := slices.SortedFunc(maps.Keys(events), func(a, b domain.Key) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		t, err := s.effect(ctx, key, events[key], q.kinds)
		if err != nil {
			return nil, err
		}
		traces = append(traces, t)
	}
	return traces, nil
}

// effect follows an instance from its first event to now. Only what the events did to the kinds counts.
func (s *Service) effect(ctx context.Context, key domain.Key, events map[eventstore.Position]bool, kinds []domain.RevertKind) (*trace, error) {
	t := newTrace(key)
	t.only = map[domain.RevertKind]bool{}
	first := map[domain.RevertKind]domain.Instance{} // the state before the first picked event of a kind that nothing else has followed
	err := s.follow(ctx, t, func(e *eventstore.RecordedEvent, before domain.Instance, event domain.Event) {
		if events[e.Position] {
			switch event := event.(type) {
			case domain.InstanceRegistered:
				if event.Replaces != 0 {
					t.left = append(t.left, domain.LeftAlone{Kind: domain.RevertRegistrations, Why: domain.LeftReplaced})
				}
			case domain.CheckChanged:
				t.left = append(t.left, domain.LeftAlone{Kind: domain.RevertChecks, Why: domain.LeftFound})
			case domain.HealthChanged:
				if event.Source == domain.FromLease {
					t.left = append(t.left, domain.LeftAlone{Kind: domain.RevertHealth, Why: domain.LeftOwnChange})
				}
			}
		}
		for _, kind := range domain.Touches(before, event) {
			_, begun := first[kind]
			switch {
			case !slices.Contains(kinds, kind):
			case events[e.Position]:
				if !begun || t.since[kind] != nil { // the effect of the picked events before is gone
					first[kind] = before
				}
				t.only[kind], t.touched[kind] = true, e
				delete(t.since, kind)
			case begun:
				t.since[kind] = e
			}
		}
	})
	if err != nil {
		return nil, err
	}
	t.want(first)
	return t, nil
}

// want makes the wanted state of those before the first picked event of each kind.
func (t *trace) want(first map[domain.RevertKind]domain.Instance) {
	t.was = t.now
	if before, ok := first[domain.RevertRegistrations]; ok {
		t.was = before
		if before.Live() && !t.now.Live() { // it comes back as it was
			t.only[domain.RevertTraffic] = true
		}
	}
	for kind, before := range first {
		switch kind {
		case domain.RevertTraffic:
			t.was.Traffic, t.was.Maintenance = before.Traffic, before.Maintenance
		case domain.RevertHealth:
			t.was.Reported = before.Says()
		case domain.RevertMetadata:
			checks := t.was.Details.Checks
			t.was.Details = before.Details
			t.was.Details.Checks = checks
		}
	}
	if before, ok := first[domain.RevertChecks]; ok {
		t.was.Details.Checks = before.Details.Checks
	}
	for kind, before := range first {
		ofEpoch := kind != domain.RevertRegistrations && (kind != domain.RevertTraffic || before.Traffic == domain.Draining)
		if ofEpoch && before.Live() {
			t.was.Epoch = min(t.was.Epoch, before.Epoch)
		}
	}
}

// pick finds the events that a revert takes back.
func (s *Service) pick(ctx context.Context, q *revertQuery) (picked, error) {
	find := q.find()
	if q.Event != "" {
		return s.pickOne(ctx, q, find)
	}
	span, err := s.Span(ctx, q.From, q.To)
	if err != nil {
		return nil, err
	}
	if find.After, find.Before, err = s.positions(ctx, span); err != nil {
		return nil, err
	}
	find.Actor, find.RequestID, find.Newest = q.Actor, q.Request, true
	events := picked{}
	newest := time.Time{} // when the newest event was recorded
	for {
		page, err := s.History.Find(ctx, find)
		if err != nil {
			return nil, err
		}
		for i := range page.Entries {
			if newest.IsZero() {
				newest = page.Entries[i].RecordedAt
			}
			events.add(&page.Entries[i])
		}
		if len(events) > MaxReverted {
			return nil, domain.InvalidField{Field: "service", Rule: fmt.Sprintf("must pick less: the events are of more than %d instances", MaxReverted)}
		}
		if !page.More || q.Request != "" && !newest.IsZero() && s.older(ctx, page.Next, newest) {
			break
		}
		find.Before = page.Next
	}
	if len(events) == 0 && q.Actor != "" {
		return nil, domain.InvalidField{Field: "actor", Rule: "must be one that changed an instance in this span, within the selection"}
	}
	if len(events) == 0 {
		return nil, domain.InvalidField{Field: "request", Rule: "must be the id of a request that changed an instance, within the selection"}
	}
	return events, nil
}

// requestLasts is a time within which all events of one request are recorded.
const requestLasts = 10 * time.Minute

// older says whether the events before a position are older than a request with an event recorded at newest.
func (s *Service) older(ctx context.Context, before eventstore.Position, newest time.Time) bool {
	bound, err := s.History.PositionAt(ctx, newest.Add(-requestLasts))
	return err == nil && before <= bound
}

func (p picked) add(e *history.Entry) {
	key, ok := e.Stream.InstanceKey()
	if !ok || key.Namespace == domain.RegistryNamespace {
		return
	}
	if p[key] == nil {
		p[key] = map[eventstore.Position]bool{}
	}
	p[key][e.Position] = true
}

// pickOne finds one event, by its position or its id.
func (s *Service) pickOne(ctx context.Context, q *revertQuery, find history.Query) (picked, error) {
	unknown := domain.InvalidField{Field: "event", Rule: "must be the position or the id of an event of an instance, within the selection"}
	id, err := uuid.Parse(q.Event)
	if err == nil {
		if id.Version() != 7 {
			return nil, unknown
		}
		at := time.Unix(id.Time().UnixTime())
		if find.After, err = s.History.PositionAt(ctx, at.Add(-requestLasts)); err != nil {
			return nil, err
		}
		if find.Before, err = s.History.PositionAt(ctx, at.Add(requestLasts)); err != nil {
			return nil, err
		}
		find.Before++
	} else {
		p, err := wire.ParsePosition("event", q.Event)
		if err != nil {
			return nil, unknown
		}
		at, err := s.number(p)
		if err != nil {
			return nil, err
		}
		if at == 0 {
			return nil, unknown
		}
		find.After, find.Before = at-1, at+1
	}
	events := picked{}
	for {
		page, err := s.History.Find(ctx, find)
		if err != nil {
			return nil, err
		}
		for i := range page.Entries {
			if id == uuid.Nil || page.Entries[i].ID == id {
				events.add(&page.Entries[i])
			}
		}
		if !page.More {
			break
		}
		find.After = page.Next
	}
	if len(events) == 0 {
		return nil, unknown
	}
	return events, nil
}
