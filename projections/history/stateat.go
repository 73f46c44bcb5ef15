package history

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// StateAt is the state of an instance when the event at a position had happened, and when its epoch began, in Unix
// nanoseconds.
func (h *History) StateAt(ctx context.Context, key domain.Key, at eventstore.Position) (state traces.State, registered int64, err error) {
	t := Tracing{Namespace: key.Namespace, Service: key.Service, ID: key.ID, UpTo: at}
	if t.After, err = h.beforeState(ctx, &t); err != nil {
		return state, 0, err
	}
	err = h.trace(ctx, &t, func(r *tracedSteps) bool {
		for step := range r.inOrder {
			if step.Kind == traces.Registered {
				registered = step.At
			}
			state = state.After(&step.Step)
		}
		return true
	})
	return state, registered, err
}

// beforeState is a position after which the steps that a tracing picks tell the state: the last one before the segment in which the
// newest epoch began or ended.
func (h *History) beforeState(ctx context.Context, t *Tracing) (at eventstore.Position, err error) {
	number, err := h.segmentOf(t.UpTo)
	r := tracedSteps{}
	for more := true; more && number > 0 && err == nil; {
		number, more, err = h.traceSome(ctx, number, 0, t, &r, func(bool) bool { return !r.beginsOrEnds() })
	}
	if err != nil || number == 0 {
		return 0, err
	}
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	_, _, at = h.segments.at(number - 1)
	return at, nil
}

// beginsOrEnds says whether an epoch begins or ends with one of the steps.
func (r *tracedSteps) beginsOrEnds() bool {
	for step := range r.inOrder {
		switch step.Kind {
		case traces.Registered, traces.Deregistered, traces.Expired:
			return true
		}
	}
	return false
}

// EventsAt are the events of some leaves, by leaf.
func (h *History) EventsAt(ctx context.Context, leaves []int64) (all map[int64]*eventstore.RecordedEvent, err error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	all = make(map[int64]*eventstore.RecordedEvent, len(leaves))
	entries := h.entries()
	defer func() { err = h.blame(errors.Join(err, entries.close())) }()
	var positions []eventstore.Position
	number := int64(-1)
	for _, leaf := range leaves {
		if n := leaf / h.segments.size; n != number {
			if err := h.interrupted(ctx); err != nil {
				return nil, err
			}
			if positions, err = h.positionsOf(n); err != nil {
				return nil, err
			}
			number = n
		}
		found, err := entries.get(positions[leaf%h.segments.size])
		if err != nil {
			return nil, err
		}
		e, err := parseEvent(found)
		if err != nil {
			return nil, err
		}
		all[leaf] = &e
	}
	return all, nil
}
