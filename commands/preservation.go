package commands

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// rule tells the log that self-preservation starts or ends in a namespace. told says that the log has changed, here
// or by another node: what it says now is found at the next look. events is how many the registry's stream has.
func (x *Expiry) rule(ctx context.Context, r leases.Ruling, events *uint64) (told bool, err error) {
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
