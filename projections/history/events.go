package history

import (
	"context"
	"errors"
	"slices"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Each calls yield with the events that a query picks, until yield gives false. It reads without what Find looks up beside
// an event, and takes little memory. Between portions of the events it lets go of the folder, so that a folder that has
// failed can be replaced; then Each gives an error. REQUIRES: q has no Via, Reason, Visible and Limit.
func (h *History) Each(ctx context.Context, q Query, yield func(e *eventstore.RecordedEvent) bool) error {
	for {
		next, more, err := h.portion(ctx, &q, yield)
		if err != nil || !more {
			return err
		}
		if q.Newest {
			q.Before = next
		} else {
			q.After = next
		}
	}
}

// portion is Each for as many events as one scan may cost.
func (h *History) portion(ctx context.Context, q *Query, yield func(e *eventstore.RecordedEvent) bool) (next eventstore.Position, more bool, err error) {
	if err := h.enter(); err != nil {
		return 0, false, err
	}
	defer h.leave()
	s := h.scan(ctx, q)
	defer func() { err = h.blame(errors.Join(err, s.close())) }()
	entries := h.entries()
	defer func() { err = errors.Join(err, entries.close()) }()
	for s.next() {
		found, err := entries.get(s.at)
		if err != nil {
			return 0, false, err
		}
		s.cost += entryCost
		e, err := parseEvent(found)
		if err != nil {
			return 0, false, err
		}
		if len(q.Types) > 0 && !slices.Contains(q.Types, e.Type) {
			continue
		}
		if !yield(&e) {
			return 0, false, nil
		}
	}
	return s.before(), s.stopped, s.err
}

// ActorOf is the actor in an event's metadata; "": there is none.
func ActorOf(e *eventstore.RecordedEvent) string {
	actor, _ := actorOf(e.Metadata)
	return actor
}
