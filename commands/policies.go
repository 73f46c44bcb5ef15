package commands

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/policies"
)

// Policies carries out commands to policies.
type Policies struct {
	Store eventstore.Store
	State *policies.Table
	// Catalog follows policies, too, for what it shows of services depends on them.
	Catalog interface {
		WaitFor(ctx context.Context, position eventstore.Position) error
	}
}

// Do carries out one command. It is answered when this node applies it.
func (p *Policies) Do(ctx context.Context, caller Caller, command domain.PolicyCommand) error {
	for range attempts {
		event, events, err := p.State.Decide(command)
		if err != nil || event == nil {
			return err
		}
		data, err := domain.Encode(event)
		if err != nil {
			return err
		}
		results, err := p.Store.Append(ctx, nil, eventstore.AppendRequest{
			Stream: eventstore.PolicyStream, Expected: eventstore.Unchanged(events),
			Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: caller.metadata(false)}},
		})
		if err != nil {
			return err
		}
		if !errors.As(results[0].Err, new(*eventstore.WrongExpectedRevision)) {
			return errors.Join(p.State.WaitFor(ctx, results[0].Position), p.Catalog.WaitFor(ctx, results[0].Position))
		}
		head, err := p.Store.Head(ctx)
		if err != nil {
			return err
		}
		if err := p.State.WaitFor(ctx, head); err != nil {
			return err
		}
	}
	return ErrContended
}
