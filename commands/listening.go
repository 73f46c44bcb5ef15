package commands

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// Heard is the store with its appends told to listening. It costs an append a few atomic operations.
func Heard(store eventstore.Store, listening *leases.Listening) eventstore.Store {
	return heardStore{store, listening}
}

type heardStore struct {
	eventstore.Store
	listening *leases.Listening
}

// Append implements eventstore.Store.
func (s heardStore) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	slot := s.listening.Begin()
	results, err := s.Store.Append(ctx, into, requests...)
	cause := domain.Deafness("")
	if err != nil {
		cause = DeafnessOf(err)
	}
	s.listening.End(slot, cause)
	return results, err
}

// DeafnessOf is why an append that failed with the error would have been no renewal; "": the registry is not to blame.
func DeafnessOf(err error) domain.Deafness {
	if err == nil {
		return ""
	}
	for _, c := range deafness {
		if errors.Is(err, c.err) {
			return c.cause
		}
	}
	return domain.DeafFailed
}

// deafness is the one table that tells whose fault a failed append is. The first that fits counts.
var deafness = []struct {
	err   error
	cause domain.Deafness
}{
	{context.Canceled, ""},
	{eventstore.ErrTooLarge, ""},
	{eventstore.ErrNoEvents, ""},
	{eventstore.ErrNoStreamNumber, ""},
	{eventstore.ErrNoOtherStream, ""},
	{eventstore.ErrReadOnly, domain.DeafReadOnly},
	{eventstore.ErrDiskFull, domain.DeafDiskFull},
	{eventstore.ErrUnavailable, domain.DeafUnavailable},
	{eventstore.ErrAccessDenied, domain.DeafDenied},
	{eventstore.ErrClosed, domain.DeafNotRunning},
	{context.DeadlineExceeded, domain.DeafCommit},
}

func (x *Expiry) state() domain.Deafness {
	if x.State == nil {
		return ""
	}
	return DeafnessOf(x.State())
}

// tellInterruptions tells the log of the times in which the registry could not take renewals. Where that needs to
// be shown, the append that tells it shows that it can again.
func (x *Expiry) tellInterruptions(ctx context.Context, now time.Time) error {
	if interrupted, ok := x.Listening.Unproven(now); ok {
		if err := x.tellInterruption(ctx, interrupted); err != nil {
			return err
		}
		x.Listening.Proved(interrupted, x.Now())
	}
	if x.Listening.Deaf() {
		return nil
	}
	if err := x.tellDowntime(ctx); err != nil {
		return err
	}
	for _, interrupted := range x.Listening.Over() {
		if err := x.tellInterruption(ctx, interrupted); err != nil {
			return err
		}
		x.Listening.Told()
	}
	return nil
}

func (x *Expiry) tellInterruption(ctx context.Context, e domain.ListeningInterrupted) error {
	x.Logger.Warn("the registry could not take heartbeats; every lease got its ttl again", "from", e.From, "to", e.To, "cause", e.Cause)
	return x.append(ctx, eventstore.Any(), e)
}

// append puts an event into the registry's stream.
func (x *Expiry) append(ctx context.Context, expected eventstore.ExpectedRevision, event domain.Event) error {
	return appendRegistry(ctx, x.Service.store, x.Projections, registry, expected, event)
}

func appendRegistry(ctx context.Context, store eventstore.Store, progress Progress, caller Caller, expected eventstore.ExpectedRevision, event domain.Event) error {
	data, err := domain.Encode(event)
	if err != nil {
		return err
	}
	results, err := store.Append(ctx, nil, eventstore.AppendRequest{
		Stream: eventstore.RegistryStream, Expected: expected,
		Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: caller.metadata(false)}},
	})
	if err != nil {
		return err
	}
	if results[0].Err != nil {
		return results[0].Err
	}
	return progress.WaitFor(ctx, results[0].Position)
}

// tellDowntime tells the log that the registry was down before this process started, if a live lease would have
// lapsed meanwhile. It does so once, at the first look at which the store can be asked.
func (x *Expiry) tellDowntime(ctx context.Context) error {
	if x.downtimeTold {
		return nil
	}
	if shortest := x.Projections.Leases().ShortestTTL(); shortest > 0 {
		for e, err := range x.Service.store.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true}) {
			if err != nil {
				return err
			}
			if !e.RecordedAt.Before(x.started) || e.Type == domain.TypeTimelineBegan { // it came since, or from a restore
				continue
			}
			if x.started.Sub(e.RecordedAt) < max(shortest, leases.ToldFrom) {
				break
			}
			down := domain.ListeningInterrupted{From: e.RecordedAt.UTC(), To: x.started.UTC(), Cause: domain.DeafNotRunning}
			if err := x.tellInterruption(ctx, down); err != nil {
				return err
			}
			break
		}
	}
	x.downtimeTold = true
	return nil
}
