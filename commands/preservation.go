package commands

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// recordRuling appends the event that self-preservation starts or ends in a namespace, if the ruling says so. recorded
// is true if this node or another node has appended such an event: the next look is based on the new event. events is
// the number of events of the registry's stream that the ruling is based on.
func (x *Expiry) recordRuling(ctx context.Context, r leases.Ruling, events *uint64) (recorded bool, err error) {
	var event domain.Event
	switch {
	case r.Start && x.Preserve:
		event = domain.SelfPreservationStarted{Namespace: r.Namespace, RenewalsSeen: r.Seen, RenewalsExpected: r.Expected}
	case r.End:
		event = domain.SelfPreservationEnded{Namespace: r.Namespace, RenewalsSeen: r.Seen, RenewalsExpected: r.Expected, Cause: r.Cause}
	default:
		return false, nil
	}
	err = x.append(ctx, eventstore.Unchanged(*events), event)
	if errors.As(err, new(*eventstore.WrongExpectedRevision)) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	*events++
	x.Logger.Warn(event.EventType(), "namespace", r.Namespace, "renewals_seen", r.Seen, "renewals_expected", r.Expected)
	return true, nil
}

// Preservation carries out operators' decisions about self-preservation.
type Preservation struct {
	Store       eventstore.Store
	Projections Projections
}

// Hold holds expiry in a namespace, or ("") in every namespace, until End. It does nothing where an operator holds
// expiry already.
func (p *Preservation) Hold(ctx context.Context, caller Caller, namespace, reason string) error {
	return p.change(ctx, caller, namespace, reason, func(s leases.Standing, c leases.Census) domain.Event {
		if s.On && s.Forced {
			return nil
		}
		return domain.SelfPreservationStarted{
			Namespace: namespace, RenewalsSeen: c.Leases - c.Overdue, RenewalsExpected: c.Leases, Forced: true, Reason: reason,
		}
	})
}

// End lets expiry go on in a namespace, or ("") in every namespace, whether an operator or the registry held it. It
// does nothing where expiry is not held.
func (p *Preservation) End(ctx context.Context, caller Caller, namespace, reason string) error {
	return p.change(ctx, caller, namespace, reason, func(s leases.Standing, c leases.Census) domain.Event {
		if standings, _ := p.Projections.SelfPreservation(); !s.On && (namespace != "" || !standings.Anywhere()) {
			return nil
		}
		return domain.SelfPreservationEnded{
			Namespace: namespace, RenewalsSeen: c.Leases - c.Overdue, RenewalsExpected: c.Leases, Cause: domain.EndedByOperator, Reason: reason,
		}
	})
}

// change appends the event that is decided on the namespace's standing. If the registry's stream changed meanwhile,
// change decides again.
func (p *Preservation) change(ctx context.Context, caller Caller, namespace, reason string, decide func(leases.Standing, leases.Census) domain.Event) error {
	if err := domain.ValidatePreservation(namespace, reason); err != nil {
		return err
	}
	_, err := decideOn(ctx, p.Store, eventstore.RegistryStream, p.Projections, caller, func() (domain.Event, uint64, error) {
		standings, events := p.Projections.SelfPreservation()
		return decide(standings.Of(namespace), p.Projections.Leases().Count(namespace)), events, nil
	})
	return err
}
