package queries

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Span is the time or the positions between from and to, both ends included. The zero Span has no bounds.
//
// A bound that is a time stays a time. The history would turn the time into the position of a lifecycle event, and the
// heartbeats between that event and the time would be on the wrong side of the bound.
type Span struct {
	After    eventstore.Position // only events after this position
	UpTo     eventstore.Position // and up to this; 0: no bound, unless the span is Empty
	From, To time.Time           // and recorded within these; zero: no bound
	Empty    bool                // the span ends before the first event
}

// Span reads from and to. "": no bound.
func (s *Service) Span(ctx context.Context, from, to string) (span Span, err error) {
	now := s.Now()
	begin, err := s.moment(ctx, "from", from, now)
	if err != nil {
		return span, err
	}
	end, err := s.moment(ctx, "to", to, now)
	if err != nil {
		return span, err
	}
	if begin != nil && end != nil {
		backwards, err := s.backwards(ctx, begin, end)
		if err != nil {
			return span, err
		}
		if backwards {
			return span, domain.InvalidField{Field: "from", Rule: "must not be after to"}
		}
	}
	if begin != nil {
		if span.After, err = s.before(ctx, begin); err != nil {
			return span, err
		}
		span.From = begin.Time
	}
	if end != nil {
		err = s.endAt(ctx, &span, end)
	}
	return span, err
}

// backwards says whether a span would begin after its end. A position and a time are compared by when the position's
// event was recorded: the position that a time has by the history is a lifecycle event's, and heartbeats come after that.
func (s *Service) backwards(ctx context.Context, begin, end *Moment) (bool, error) {
	if begin.Time.IsZero() == end.Time.IsZero() || !begin.after(end) {
		return begin.after(end), nil
	}
	position := begin.Position
	if !begin.Time.IsZero() {
		position = end.Position
	}
	for e, err := range s.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: max(position, 1) - 1}) {
		if err != nil {
			return false, err
		}
		if begin.Time.IsZero() {
			return e.RecordedAt.After(end.Time), nil
		}
		return e.RecordedAt.Before(begin.Time), nil
	}
	return false, nil
}

// endAt ends the span with a moment.
func (s *Service) endAt(ctx context.Context, span *Span, end *Moment) (err error) {
	span.To = end.Time
	if end.Time.IsZero() {
		span.UpTo, span.Empty = end.Position, end.Position == 0
		return nil
	}
	if store, ok := s.Store.(timed); ok { // with the position, the reader need not search for the first event after the span
		span.UpTo, err = store.PositionAt(ctx, end.Time)
		span.Empty = span.UpTo == 0
	}
	return err
}

// timed is a store that can give the position of a time among all events, heartbeats included.
type timed interface {
	PositionAt(ctx context.Context, at time.Time) (eventstore.Position, error)
}

// before is a position at which the moment has not begun: no event up to the position belongs to the moment. If the moment
// is a time, events directly after the position may still be older than the moment.
func (s *Service) before(ctx context.Context, m *Moment) (eventstore.Position, error) {
	if m.Time.IsZero() {
		return max(m.Position, 1) - 1, nil
	}
	if store, ok := s.Store.(timed); ok {
		return store.PositionAt(ctx, m.Time.Add(-1))
	}
	return s.History.PositionAt(ctx, m.Time.Add(-1))
}

// Before is the exact position after which a moment's events begin: the newest event before the moment has this position
// or an earlier position. For no moment ("") Before is the position of the newest event.
func (s *Service) Before(ctx context.Context, field, text string) (eventstore.Position, error) {
	if text == "" {
		return s.Store.Head(ctx)
	}
	m, err := s.Moment(ctx, field, text)
	if err != nil {
		return 0, err
	}
	after, err := s.before(ctx, &m)
	if err != nil || m.Time.IsZero() {
		return after, err
	}
	for e, err := range s.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: after}) {
		if err != nil {
			return 0, err
		}
		if !e.RecordedAt.Before(m.Time) {
			break
		}
		after = e.Position
	}
	return after, nil
}

// positions are the span's bounds for lifecycle events alone: after one position and before another
// (0: no bound).
func (s *Service) positions(ctx context.Context, span Span) (after, before eventstore.Position, err error) {
	after = span.After
	if !span.From.IsZero() {
		if after, err = s.History.PositionAt(ctx, span.From.Add(-1)); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case !span.To.IsZero():
		before, err = s.History.PositionAt(ctx, span.To)
		before++
	case span.UpTo > 0 || span.Empty:
		before = span.UpTo + 1
	}
	return after, before, err
}

// Resume is the span of a follower of the log: the events after a position, from a time on, or ("") after the newest
// event. field is the client's name for the parameter.
func (s *Service) Resume(ctx context.Context, field, text string) (span Span, err error) {
	if text == "" {
		span.After, err = s.Store.Head(ctx)
		return span, err
	}
	m, err := s.Moment(ctx, field, text)
	if err != nil {
		return span, err
	}
	span.After = m.Position
	if m.Time.IsZero() {
		return span, nil
	}
	span.From = m.Time
	span.After, err = s.before(ctx, &m)
	return span, err
}
