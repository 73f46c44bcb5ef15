// Package policies is the projection of policies: what holds for a service, and who set it.
package policies

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// Table holds the policies. One goroutine applies events; anyone may read.
type Table struct {
	projections.Progress

	logger *slog.Logger
	state  atomic.Pointer[domain.Policies] // never changes; an event makes a new one
}

// Open folds the stream of policies as it stands. When the store cannot be reached, Run does.
func Open(ctx context.Context, store eventstore.Store, logger *slog.Logger) (*Table, error) {
	t := &Table{logger: logger}
	t.state.Store(&domain.Policies{})
	if err := t.stream(store).Fold(ctx, &t.Progress); err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	return t, nil
}

// Run applies events as they come until the context ends.
func (t *Table) Run(ctx context.Context, store eventstore.Store) error {
	if err := t.stream(store).Follow(ctx, &t.Progress); err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	return nil
}

func (t *Table) stream(store eventstore.Store) projections.OneStream {
	return projections.OneStream{Store: store, Stream: eventstore.PolicyStream, Apply: t.apply}
}

// apply is idempotent: Open may have read events behind the head that it asked for. An event that cannot be read sets
// nothing.
func (t *Table) apply(e *eventstore.RecordedEvent) {
	state := *t.state.Load()
	if uint64(e.Revision) < state.Events {
		return
	}
	event, err := eventstore.Decode(e)
	if err != nil {
		t.logger.Error("event is kept but cannot be applied", "position", e.Position, "stream", e.Stream, "cause", err)
	} else {
		state = state.Apply(event, eventstore.RecordOf(e))
	}
	state.Events = uint64(e.Revision) + 1
	t.state.Store(&state)
}

// Any says whether there is a policy. It is cheap.
func (t *Table) Any() bool { return len(t.state.Load().List()) > 0 }

// List are the policies by name. REQUIRES: the caller changes none of them.
func (t *Table) List() []*domain.Policy { return t.state.Load().List() }

// Find is a policy; nil: there is none.
func (t *Table) Find(name string) *domain.Policy { return t.state.Load().Find(name) }

// For are the policies of a service, by name.
func (t *Table) For(service domain.ServiceKey) (all []domain.Policy) {
	for _, p := range t.List() {
		if p.Matches(service) {
			all = append(all, *p)
		}
	}
	return all
}

// Decide decides a command, and says how many events the state has.
func (t *Table) Decide(command domain.PolicyCommand) (event domain.Event, events uint64, err error) {
	state := t.state.Load()
	event, err = state.Decide(command)
	return event, state.Events, err
}
