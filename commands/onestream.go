package commands

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// appendTo appends events to one stream, all or none, and gives the position of the last one. It fails with an
// *eventstore.WrongExpectedRevision if another event came first.
func appendTo(ctx context.Context, store eventstore.Store, stream eventstore.StreamName, expected eventstore.ExpectedRevision, caller Caller, events ...domain.Event) (at eventstore.Position, err error) {
	request := eventstore.AppendRequest{Stream: stream, Expected: expected}
	for i, event := range events {
		made, err := caller.event(stream, i, event)
		if err != nil {
			return 0, err
		}
		request.Events = append(request.Events, made)
	}
	results, err := store.Append(ctx, nil, request)
	if err != nil {
		return 0, err
	}
	return results[0].Position, results[0].Err
}

// waiter is a state that is folded from events.
type waiter interface {
	WaitFor(ctx context.Context, position eventstore.Position) error
}

// waiting is a waiter that is a function.
type waiting func(ctx context.Context, position eventstore.Position) error

// WaitFor implements waiter.
func (w waiting) WaitFor(ctx context.Context, position eventstore.Position) error {
	return w(ctx, position)
}

// decideOn appends to a stream what is decided on the state of the stream, and waits until the state has applied it. decide
// says how many events of the stream the state has. Where others appended meanwhile, it is decided again. Commands of one node to a
// stream of many things take turns, so that no crowd of them is refused as contended. at is 0 if nothing
// was to be done. A request that was carried out before, by its key, is not carried out again.
//
// INVARIANT: what is appended was decided on a state without an event of the same request. The stream is read for one after the
// decision, so that all events of the state are seen, and no event comes between the state and the append.
//
// INVARIANT: nothing is refused, or found to be done already, on a state that is behind what any node has answered for.
func decideOn(ctx context.Context, store eventstore.Store, stream eventstore.StreamName, state waiter, caller Caller, decide func() (event domain.Event, events uint64, err error)) (at eventstore.Position, err error) {
	for attempt := range attempts {
		event, events, err := decide()
		before, unread := caller.sentBefore(ctx, store, stream) // after the decision, see the invariant
		if unread != nil {
			return 0, unread
		}
		if before.Position > 0 {
			return before.Position, state.WaitFor(ctx, before.Position)
		}
		switch {
		case err == nil && event != nil:
			at, err := appendTo(ctx, store, stream, eventstore.Unchanged(events), caller, event)
			if err == nil {
				return at, state.WaitFor(ctx, at)
			}
			if !errors.As(err, new(*eventstore.WrongExpectedRevision)) {
				return 0, err
			}
		case attempt > 0: // the state is level
			return 0, err
		}
		if err := levelOn(ctx, store, stream, state); err != nil {
			return 0, err
		}
	}
	return 0, ErrContended
}

// levelOn waits until the state has applied the newest event of the stream that any node has answered for. The newest event of
// the store may be of another stream, and the state may never hear of it.
func levelOn(ctx context.Context, store eventstore.Store, stream eventstore.StreamName, state waiter) error {
	if _, err := store.Head(ctx); err != nil {
		return err
	}
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}
	for e, err := range store.ReadStream(ctx, stream, newest) {
		if err != nil {
			return err
		}
		return state.WaitFor(ctx, e.Position)
	}
	return nil
}
