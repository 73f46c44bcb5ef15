package queries

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Events yields the events of a span that a selection picks, in the order of their positions.
func (s *Service) Events(ctx context.Context, selection Selection, span Span) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		if span.Empty {
			return
		}
		filter, err := selection.Filter()
		if err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		for e, err := range s.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: span.After, To: span.UpTo, Filter: filter}) {
			switch {
			case err != nil:
				yield(eventstore.RecordedEvent{}, err)
				return
			case !span.To.IsZero() && e.RecordedAt.After(span.To): // recorded_at never decreases: no later event is in the span
				return
			case e.RecordedAt.Before(span.From):
				continue
			case !selection.Visible.stream(e.Stream):
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Events are recorded events in order. The slice is valid until the next call of Next.
type Events []eventstore.RecordedEvent

func (Events) update() {}

// EventFollowing gives the events of the log to one follower. The follower must call Close.
type EventFollowing struct {
	service      *Service
	visible      Visible
	from         time.Time // events that were recorded earlier are left out
	subscription eventstore.Subscription
	at           eventstore.Position // the follower has been told of everything up to here
	ended        bool
}

// FollowEvents subscribes to the events that a selection picks: the recorded events from the beginning of the span on,
// then new events.
func (s *Service) FollowEvents(ctx context.Context, selection Selection, span Span) (*EventFollowing, error) {
	filter, err := selection.Filter()
	if err != nil {
		return nil, err
	}
	if s.Stopping.Err() != nil {
		return nil, eventstore.ErrClosed
	}
	subscription, err := s.Store.Subscribe(ctx, eventstore.SubscribeOptions{After: span.After, Filter: filter})
	if err != nil {
		return nil, err
	}
	return &EventFollowing{service: s, visible: selection.Visible, from: span.From, subscription: subscription, at: span.After}, nil
}

// Close ends the following.
func (f *EventFollowing) Close() error { return f.subscription.Close() }

// Next waits for the next update. After a Cut, Next returns io.EOF. After an error there are no further updates.
func (f *EventFollowing) Next(ctx context.Context) (Update, error) {
	// The time of a KeepAlive goes on over events that are not picked: nothing is told of them.
	quiet, cancel := context.WithTimeout(ctx, keepAlive)
	defer cancel()
	defer context.AfterFunc(f.service.Stopping, cancel)()
	for !f.ended {
		events, position, err := f.subscription.Next(quiet)
		if err == nil {
			f.at = position
			if events = f.pick(events); len(events) > 0 {
				return Events(events), nil
			}
			if err = quiet.Err(); err == nil {
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case f.service.Stopping.Err() != nil || errors.Is(err, eventstore.ErrClosed):
			f.ended = true
			return Cut{At: f.at, Reason: stopping}, nil
		case errors.Is(err, context.DeadlineExceeded):
			return KeepAlive{wire.StillHere}, nil
		default:
			return nil, err
		}
	}
	return nil, io.EOF
}

// pick leaves out the events that the follower may not see, and those before the beginning of the span.
func (f *EventFollowing) pick(events []eventstore.RecordedEvent) []eventstore.RecordedEvent {
	if f.visible != nil {
		var seen []eventstore.RecordedEvent // other subscribers have the same slice
		for i := range events {
			if f.visible.stream(events[i].Stream) {
				seen = append(seen, events[i])
			}
		}
		events = seen
	}
	for i := range events {
		if !events[i].RecordedAt.Before(f.from) { // recorded_at never decreases: all later events are in the span
			f.from = time.Time{}
			return events[i:]
		}
	}
	return nil
}
