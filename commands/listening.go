package commands

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// ReportAppends wraps a store: the wrapped store reports each append and its failure to listening. The report costs
// an append a few atomic operations.
func ReportAppends(store eventstore.Store, listening *leases.Listening) eventstore.Store {
	return reportingStore{store, listening}
}

type reportingStore struct {
	eventstore.Store
	listening *leases.Listening
}

// Append implements eventstore.Store.
func (s reportingStore) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	slot := s.listening.Begin()
	results, err := s.Store.Append(ctx, into, requests...)
	cause := domain.Deafness("")
	if err != nil {
		cause = DeafnessOf(err)
	}
	s.listening.End(slot, cause)
	return results, err
}

// DeafnessOf gives the cause for which an append that failed with the error renews no lease. The cause is "" if the
// registry did not cause the failure.
func DeafnessOf(err error) domain.Deafness {
	if err == nil {
		return ""
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.cause
		}
	}
	return domain.DeafFailed
}

// causes maps the errors of an append to the cause of the failure. The first error that fits counts. "": the registry
// did not cause the failure.
var causes = []struct {
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

// state is the cause for which the event store takes no appends now; "": the store takes appends.
func (x *Expiry) state() domain.Deafness {
	if x.State == nil {
		return ""
	}
	return DeafnessOf(x.State())
}

// recordInterruptions appends an event for each time in which the registry could not take renewals. If nothing has
// shown yet that the registry can take renewals again, the append of the event shows it.
func (x *Expiry) recordInterruptions(ctx context.Context, now time.Time) error {
	if interrupted, ok := x.Listening.Unproven(now); ok {
		if err := x.recordInterruption(ctx, x.recorded(interrupted)); err != nil {
			return err
		}
		x.Listening.Proved(interrupted, x.Now())
	}
	if x.Listening.Deaf() {
		return nil
	}
	if x.Leadership == nil { // the other nodes may have listened while this one was down
		if err := x.recordDowntime(ctx); err != nil {
			return err
		}
	}
	for _, interrupted := range x.Listening.Over() {
		if err := x.recordInterruption(ctx, x.recorded(interrupted)); err != nil {
			return err
		}
		x.Listening.Told()
	}
	return nil
}

// recorded is an interruption, which Listening measured by Now, in the time as the store records it now.
func (x *Expiry) recorded(interrupted domain.ListeningInterrupted) domain.ListeningInterrupted {
	length := interrupted.To.Sub(interrupted.From)
	interrupted.From = x.recordedAs(interrupted.From)
	interrupted.To = interrupted.From.Add(length)
	return interrupted
}

// recordedAs is a moment that was measured by Now in the time as the store records it now.
func (x *Expiry) recordedAs(moment time.Time) time.Time {
	recorded := x.Recorded
	if recorded == nil {
		recorded = x.Now
	}
	return recorded().Add(moment.Sub(x.Now())).UTC().Round(0)
}

func (x *Expiry) recordInterruption(ctx context.Context, e domain.ListeningInterrupted) error {
	x.Logger.Warn("the registry could not take heartbeats; every lease got its ttl again", "from", e.From, "to", e.To, "cause", e.Cause)
	return x.append(ctx, eventstore.Any(), e)
}

// append appends an event to the registry's stream and waits until the projections have applied the event.
func (x *Expiry) append(ctx context.Context, expected eventstore.ExpectedRevision, event domain.Event) error {
	at, err := appendTo(ctx, x.store(), eventstore.RegistryStream, expected, registry, event)
	if err != nil {
		return err
	}
	return x.Projections.WaitFor(ctx, at)
}

// recordDowntime appends an event for the time in which the registry was down before this process started, if a live
// lease would have lapsed in that time. It does so once, at the first look at which the store can be read. Nothing is told if
// the newest event of before is later than the start: a clock was wrong, and how long the registry was down is not known.
func (x *Expiry) recordDowntime(ctx context.Context) error {
	if x.downtimeRecorded {
		return nil
	}
	if shortest := x.Projections.Leases().ShortestTTL(); shortest > 0 {
		started := x.recordedAs(x.started)
		for e, err := range x.Service.store.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true}) {
			if err != nil {
				return err
			}
			if e.Position > x.reached && !e.RecordedAt.Before(started) || e.Type == domain.TypeTimelineBegan { // the event is this process's, or a restore's
				continue
			}
			if started.Sub(e.RecordedAt) < max(shortest, leases.ToldFrom) {
				break
			}
			down := domain.ListeningInterrupted{From: e.RecordedAt.UTC(), To: started, Cause: domain.DeafNotRunning}
			if err := x.recordInterruption(ctx, down); err != nil {
				return err
			}
			break
		}
	}
	x.downtimeRecorded = true
	return nil
}
