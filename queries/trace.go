package queries

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// trace is what a revert needs to know of one instance: what is wanted, what is, and which events lie in between.
type trace struct {
	key      domain.Key
	was, now domain.Instance
	last     eventstore.Position       // of the newest event
	newest   *eventstore.RecordedEvent // nil: none since
	began    *eventstore.RecordedEvent // began the newest epoch; nil: none began since
	lapsed   bool                      // see domain.Reverting
	reported bool
	ended    domain.Event // took the instance out; nil: it is live, or never was

	touched map[domain.RevertKind]*eventstore.RecordedEvent // the newest event that is reverted
	since   map[domain.RevertKind]*eventstore.RecordedEvent // the newest event after it that is not
	only    map[domain.RevertKind]bool                      // kinds that are reverted; nil: every one
	left    []domain.LeftAlone
}

func newTrace(key domain.Key) *trace {
	return &trace{
		key: key, was: domain.Instance{Key: key}, now: domain.Instance{Key: key},
		touched: map[domain.RevertKind]*eventstore.RecordedEvent{}, since: map[domain.RevertKind]*eventstore.RecordedEvent{},
	}
}

func (t *trace) wants(kind domain.RevertKind) bool { return t.only == nil || t.only[kind] }

// leftSince says whether an instance that changed after a plan may be left alone because of that change: the plan may have had a step in
// its place. REQUIRES: it changed after the plan at that position.
func (t *trace) leftSince(l domain.LeftAlone, plan eventstore.Position) bool {
	switch l.Why {
	case domain.LeftChanged:
		return t.since[l.Kind].Position > plan
	case domain.LeftLapsed, domain.LeftGone, domain.LeftSucceeded, domain.LeftSilent, domain.LeftReported:
		return true
	}
	return false // because of what is reverted itself
}

// causeOf is the event that a step of a kind reverts. What comes back with a registration is a part of the registration.
func (t *trace) causeOf(kind domain.RevertKind) *eventstore.RecordedEvent {
	return cmp.Or(t.touched[kind], t.touched[domain.RevertRegistrations], t.newest)
}

// follow applies the events of the instance's stream after t.now to it, and calls each with every event after it was
// applied. An event that cannot be read changes nothing, as everywhere.
func (s *Service) follow(ctx context.Context, t *trace, each func(e *eventstore.RecordedEvent, before domain.Instance, event domain.Event)) error {
	opts := eventstore.ReadOptions{From: eventstore.Revision(t.now.Events)}
	for e, err := range s.Store.ReadStream(ctx, eventstore.LifecycleStream(t.key), opts) {
		if err != nil {
			return err
		}
		before := t.now
		t.now, _ = eventstore.Evolve(t.now, &e)
		t.last, t.newest = e.Position, &e
		event, err := eventstore.Decode(&e)
		if err != nil {
			continue
		}
		switch {
		case t.now.Live():
			t.ended, t.lapsed = nil, false
		case before.Live():
			t.ended = event
			removed, deregistered := event.(domain.InstanceDeregistered)
			t.lapsed = !deregistered || removed.Check != ""
		}
		switch changed := event.(type) {
		case domain.InstanceRegistered:
			t.began = &e
		case domain.HealthChanged:
			if changed.Source != domain.FromLease {
				t.reported = changed.Source != domain.FromOperator
			}
		case domain.InstanceUpdated:
			t.reported = true
		}
		each(&e, before, event)
	}
	return nil
}

// cause is an event in the form of the API; nil: there is none.
func (s *Service) cause(e *eventstore.RecordedEvent) *wire.RevertCause {
	if e == nil {
		return nil
	}
	var m domain.Metadata
	_ = json.Unmarshal(e.Metadata, &m) // another program's metadata may be anything
	var said struct{ Reason, Output string }
	_ = json.Unmarshal(e.Data, &said)
	return &wire.RevertCause{
		EventID: e.ID, Position: wire.PositionOf(e), RecordedAt: e.RecordedAt, Type: e.Type,
		Actor: m.Actor, Reason: cmp.Or(said.Reason, said.Output, m.Reason),
	}
}

func commandName(c domain.Command) string {
	name := fmt.Sprintf("%T", c)
	return name[strings.LastIndexByte(name, '.')+1:]
}

func changeWords(step domain.RevertStep) string {
	switch step.Kind {
	case domain.RevertTraffic, domain.RevertHealth:
		return string(step.Kind) + " " + step.From + " -> " + step.To
	}
	return step.To
}

func leftWords(l domain.LeftAlone, e *eventstore.RecordedEvent, t *trace, now time.Time) string {
	at := ""
	if e != nil {
		at = " at " + clock(e.RecordedAt, now)
	}
	switch l.Why {
	case domain.LeftLapsed:
		expired, ok := t.ended.(domain.LeaseExpired)
		if !ok {
			return "removed" + at + " because a check stayed critical"
		}
		heard := expired.At()
		if heard.IsZero() {
			return "lease lapsed" + at
		}
		return "lease lapsed" + at + ": silent since " + clock(heard, now)
	case domain.LeftGone:
		return "it is not registered now"
	case domain.LeftSucceeded:
		return fmt.Sprintf("registered anew%s, in epoch %d: what that registration says stands", at, t.now.Epoch)
	case domain.LeftReported:
		return "the instance said so itself" + at + "; the kind health, if it is named, reverts that too"
	case domain.LeftSilent:
		return "its lease lapsed: it is changed only when it is heard again"
	case domain.LeftInvalid:
		return "it cannot be as it was: " + l.Rule.Error()
	case domain.LeftChanged:
		return "changed again" + at
	case domain.LeftFound:
		return "a check says what was seen" + at
	case domain.LeftReplaced:
		return "the process that was replaced" + at + " cannot be brought back"
	case domain.LeftOwnChange:
		return "only heartbeats change what the lease says" + at
	}
	return string(l.Why)
}

// clock is a time in UTC, without the date where it is today's.
func clock(at, now time.Time) string {
	at, now = at.UTC(), now.UTC()
	if at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format(time.TimeOnly)
	}
	return at.Format(time.DateTime)
}
