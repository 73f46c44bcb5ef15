package commands

import (
	"context"

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

	turn turn // of commands, see decideOn
}

// Do carries out one command. It is answered when this node applies it.
func (p *Policies) Do(ctx context.Context, caller Caller, command domain.PolicyCommand) error {
	release, err := p.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	at, err := decideOn(ctx, p.Store, eventstore.PolicyStream, p.State, caller, func() (domain.Event, uint64, error) { return p.State.Decide(command) })
	if err != nil || at == 0 {
		return err
	}
	return p.Catalog.WaitFor(ctx, at)
}
