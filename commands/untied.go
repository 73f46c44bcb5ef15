package commands

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// INVARIANT: a heartbeat is answered as received only if the instance was live, in the heartbeat's epoch, at the
// heartbeat's position. A store that ties the append to the lifecycle stream keeps the invariant. A store that cannot
// tie the append marks the result as untied, and the functions of this file decide after the append: the events before
// the heartbeat's position never change.

// untiedWait is how long an untied heartbeat waits for the projections. A projection that has reached the heartbeat's
// position makes a read of the stream needless.
const untiedWait = 2 * time.Second

// awaitUntied waits until the projections have reached the newest untied result, for untiedWait at most. caughtUp is
// true if the projections have reached the result, or if no result is untied.
func (s *Service) awaitUntied(ctx context.Context, results []eventstore.AppendResult) (caughtUp bool) {
	var last eventstore.Position
	for i := range results {
		if results[i].Untied && results[i].Err == nil {
			last = max(last, results[i].Position)
		}
	}
	if last == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, untiedWait)
	defer cancel()
	return s.progress.WaitFor(ctx, last) == nil
}

// accepted says whether the append of a heartbeat that was decided on the entry is valid. false: the caller must
// decide again on the instance's stream.
func (s *Service) accepted(ctx context.Context, decidedOn *catalog.Entry, renewed renewal, appended *eventstore.AppendResult, caughtUp bool) (bool, error) {
	if appended.Err != nil {
		return false, nil
	}
	if !appended.Untied {
		return true, nil
	}
	return s.validAt(ctx, decidedOn.Key(), decidedOn.Epoch(), renewed, appended.Position, caughtUp)
}

// renewal is what a heartbeat renews: the lease, or a ttl check whose status stays. The zero renewal is that of the lease.
type renewal struct {
	check  string
	status domain.Status
}

func renewalBy(command domain.Command) renewal {
	if report, ok := command.(domain.ReportCheck); ok {
		return renewal{report.Check, report.Status}
	}
	return renewal{}
}

// holds says whether a renewal changes nothing else in an instance's state. Otherwise the lease or the check has lapsed, or
// the check has changed, without regard to the heartbeat.
func (r renewal) holds(i domain.Instance) bool {
	if r.check == "" {
		return i.Lapsed.IsZero()
	}
	c, ok := i.Check(r.check)
	return ok && c.Status == r.status
}

// validAt says whether an untied heartbeat of the epoch is valid at its position. caughtUp says that the projections
// have reached the position. A heartbeat of an epoch that has expired is not valid, also if the heartbeat came before
// the expiry: the expiry was decided without the heartbeat, and the instance is gone.
func (s *Service) validAt(ctx context.Context, key domain.Key, epoch uint64, renewed renewal, position eventstore.Position, caughtUp bool) (bool, error) {
	if caughtUp {
		if entry := s.catalog().Find(key); entry != nil && entry.Epoch() == epoch {
			return !entry.Watched() || renewed.holds(entry.Brief()), nil
		}
	}
	state, now := domain.Instance{Key: key}, domain.Instance{Key: key}
	for e, err := range s.store.ReadStream(ctx, eventstore.LifecycleStream(key), eventstore.ReadOptions{}) {
		if err != nil {
			return false, err
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			continue // another program's event changes no state
		}
		if expired, ok := event.(domain.LeaseExpired); ok && expired.Epoch == epoch {
			return false, nil
		}
		now = domain.Evolve(now, event, eventstore.RecordOf(&e))
		if e.Position < position {
			state = now
		}
	}
	return state.Live() && state.Epoch == epoch && (now.Epoch != epoch || renewed.holds(now)), nil
}
