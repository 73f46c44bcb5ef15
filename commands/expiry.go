package commands

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// StallAfter is the gap between two ticks after which this process is held to have stood still.
const StallAfter = time.Second

// Projections is what the expiry asks of the read models.
type Projections interface {
	Progress
	Leases() *leases.Table
	SelfPreservation() (on bool, event *eventstore.RecordedEvent)
}

// Expiry takes out instances whose leases lapsed. Several nodes may do so over one store: each
// expiry is appended at the revision it was decided on, so one of them wins.
type Expiry struct {
	Service     *Service
	Projections Projections
	Now         func() time.Time
	Logger      *slog.Logger
	Preserve    bool // hold expiry while too many leases lapse at once

	last         time.Time
	preservation leases.Preservation
}

// maxExpire is how many leases one pass takes out at most; the next pass takes the rest.
const maxExpire = 2500

// Run looks for lapsed leases at every tick until the context ends.
func (x *Expiry) Run(ctx context.Context, ticks <-chan time.Time) error {
	x.last = x.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			if err := x.pass(ctx); err != nil && ctx.Err() == nil {
				x.Logger.Error("leases could not be looked through", "cause", err)
			}
		}
	}
}

// pass is one look at the leases.
func (x *Expiry) pass(ctx context.Context) error {
	now := x.Now()
	table := x.Projections.Leases()
	if pause := now.Sub(x.last); pause > StallAfter {
		x.Logger.Warn("this process stood still; every lease gets its ttl again", "for", pause.Round(time.Millisecond))
		table.Grace(now)
	}
	x.last = now // a pass is short (maxExpire), so a longer gap that begins in it is a stall, too
	overdue := table.Overdue(now)
	on, event := x.Projections.SelfPreservation()
	if len(overdue) == 0 && !on {
		return nil
	}
	// Heartbeats that are durable but not applied yet count: catch up before judging.
	if err := x.catchUp(ctx); err != nil {
		return err
	}
	lapsed, forgotten := x.judge(overdue, now)
	if x.Preserve {
		renewals := x.preservation.Count(table.Len()-len(forgotten), len(lapsed), now)
		if hold := !renewals.Enough(); hold != on {
			if err := x.announce(ctx, hold, renewals, event); err != nil {
				return err
			}
			on = hold
		}
	}
	if on && x.Preserve {
		lapsed = nil
	}
	expired := x.expire(ctx, lapsed, now)
	x.preservation.Expired(expired, now)
	x.expire(ctx, forgotten, now)
	return nil
}

func (x *Expiry) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, StallAfter/2)
	defer cancel()
	head, err := x.Service.store.Head(ctx)
	if err != nil {
		return err
	}
	return x.Projections.WaitFor(ctx, head)
}

// judge looks at overdue leases once more: some were renewed meanwhile.
func (x *Expiry) judge(overdue []leases.Lease, now time.Time) (lapsed, forgotten []leases.Lease) {
	for _, l := range overdue {
		fresh, ok := x.Projections.Leases().Find(l.Key)
		switch {
		case !ok || !fresh.Deadline.Before(now):
		case fresh.Forgotten(now):
			forgotten = append(forgotten, fresh)
		default:
			lapsed = append(lapsed, fresh)
		}
	}
	return lapsed, forgotten
}

// announce appends that self-preservation started or ended, unless another node did.
func (x *Expiry) announce(ctx context.Context, start bool, r leases.Renewals, last *eventstore.RecordedEvent) error {
	var event domain.Event = domain.SelfPreservationEnded{RenewalsSeen: r.Seen, RenewalsExpected: r.Expected}
	if start {
		event = domain.SelfPreservationStarted{RenewalsSeen: r.Seen, RenewalsExpected: r.Expected}
	}
	data, err := domain.Encode(event)
	if err != nil {
		return err
	}
	expected := eventstore.NoStream()
	if last != nil {
		expected = eventstore.Exactly(last.Revision)
	}
	results, err := x.Service.store.Append(ctx, nil, eventstore.AppendRequest{
		Stream: eventstore.RegistryStream, Expected: expected,
		Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: registry.metadata(false)}},
	})
	if err != nil {
		return err
	}
	if results[0].Err != nil { // another node was first; the next pass sees it
		return results[0].Err
	}
	x.Logger.Warn(event.EventType(), "renewals_seen", r.Seen, "renewals_expected", r.Expected)
	return x.Projections.WaitFor(ctx, results[0].Position)
}

// registry is on whose behalf leases expire.
var registry = Caller{Actor: "rollcall", Via: "expiry"}

// expire takes the instances out and says how many it did.
func (x *Expiry) expire(ctx context.Context, lapsed []leases.Lease, now time.Time) int {
	lapsed = lapsed[:min(len(lapsed), maxExpire)]
	if len(lapsed) == 0 {
		return 0
	}
	requests := make([]Request, 0, len(lapsed))
	for _, l := range lapsed {
		heard, err := x.lastHeartbeat(ctx, l)
		if err != nil {
			x.Logger.Error("the last heartbeat cannot be read", "instance", l.Key, "cause", err)
		}
		requests = append(requests, Request{Command: domain.ExpireLease{
			Key: l.Key, Epoch: l.Epoch, LastHeartbeat: heard, Late: now.Sub(l.Deadline),
		}})
	}
	expired := 0
	for _, r := range x.Service.DoAll(ctx, registry, requests) {
		var unknown domain.UnknownInstance
		var already domain.LeaseLapsed
		var stale domain.StaleEpoch
		switch {
		case r.Err == nil:
			expired++
		case errors.As(r.Err, &unknown), errors.As(r.Err, &already), errors.As(r.Err, &stale):
			// someone else took it out, or it came back
		case ctx.Err() == nil:
			x.Logger.Error("a lapsed lease could not be expired; it is tried again", "cause", r.Err)
		}
	}
	return expired
}

// lastHeartbeat is when the instance was last heard: what the table knows, or, if nothing came
// since this process started, what the stream says; the registration where there was no heartbeat.
func (x *Expiry) lastHeartbeat(ctx context.Context, l leases.Lease) (time.Time, error) {
	if !l.LastHeartbeat.IsZero() {
		return l.LastHeartbeat, nil
	}
	entry := x.Service.catalog().Find(l.Key)
	if entry == nil {
		return time.Time{}, nil // gone meanwhile: the command will be refused
	}
	newest := eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}
	for e, err := range x.Service.store.ReadStream(ctx, eventstore.HeartbeatStream(l.Key), newest) {
		if err != nil {
			return entry.RegisteredAt(), err
		}
		if e.RecordedAt.After(entry.RegisteredAt()) {
			return e.RecordedAt, nil
		}
	}
	return entry.RegisteredAt(), nil
}
