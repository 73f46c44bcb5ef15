package commands

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// Projections is what the expiry asks of the read models.
type Projections interface {
	Progress
	Leases() *leases.Table
	// SelfPreservation says where expiry is held, and how many events of the registry's stream say so.
	SelfPreservation() (standings *leases.Standings, events uint64)
}

// Expiry takes out instances whose leases lapsed. Several nodes may do so over one store: each
// expiry is bound to the revisions that it was decided on, of the instance's life and of its heartbeats,
// so one of them wins, and none wins over a heartbeat that was answered.
type Expiry struct {
	Service     *Service
	Projections Projections
	Now         func() time.Time
	Logger      *slog.Logger
	Preserve    bool // hold expiry in a namespace where many leases lapse at once
	// Listening knows when this node could take renewals; nil: Run makes one that knows of this process's pauses only.
	Listening *leases.Listening
	// State is why the event store says that it takes no appends, nil if it takes them; nil: nobody says.
	State func() error

	started      time.Time
	downtimeTold bool
	tied         bool // the store ties appends, as the last one showed
	preservation leases.Preservation
	// unread are the events of heartbeat streams of which none can be read, because they are damaged or trimmed.
	unread map[domain.Key]uint64
}

const (
	// maxExpire is how many leases one look takes out of a namespace at most; the next look takes the rest.
	maxExpire = 2500
	// catchUpFor is how long a look waits for the projections.
	catchUpFor = 500 * time.Millisecond
)

// registry is on whose behalf leases expire.
var registry = Caller{Actor: "rollcall", Via: "expiry"}

// Run looks for lapsed leases at every tick until the context ends. Listening is looked after apart, so that it
// cannot be held up by a look that takes long.
func (x *Expiry) Run(ctx context.Context, ticks <-chan time.Time) error {
	if x.Listening == nil {
		x.Listening = leases.NewListening(x.Projections.Leases())
	}
	x.started = x.Now()
	x.Listening.Start(x.started)
	looks := make(chan struct{}, 1) // a tick that comes while a look goes on is looked at after it; never closed
	looking := make(chan struct{})  // closed when the looks have ended
	go func() {
		defer close(looking)
		for {
			select {
			case <-ctx.Done():
				return
			case <-looks:
			}
			if err := x.look(ctx); err != nil && ctx.Err() == nil {
				x.Logger.Error("leases could not be looked through", "cause", err)
			}
		}
	}()
	defer func() { <-looking }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			x.Listening.Sample(x.Now(), x.state())
			select {
			case looks <- struct{}{}:
			default:
			}
		}
	}
}

// look is one look at the leases. It takes none out that lapsed while the registry could not take renewals.
func (x *Expiry) look(ctx context.Context) error {
	now := x.Now()
	mark, able := x.Listening.Sample(now, x.state())
	if err := x.tellInterruptions(ctx, now); err != nil || !able {
		return err
	}
	table := x.Projections.Leases()
	table.Sweep(now)
	standings, _ := x.Projections.SelfPreservation()
	if !slices.ContainsFunc(x.preservation.Look(table, standings, table.Anew(), now), x.calls) {
		return nil
	}
	// Heartbeats that are durable but not applied yet count: catch up before judging.
	if err := x.catchUp(ctx); err != nil {
		x.Listening.Refused(DeafnessOf(err))
		return err
	}
	standings, events := x.Projections.SelfPreservation()
	for _, r := range x.preservation.Look(table, standings, table.Anew(), now) {
		told, err := x.rule(ctx, r, &events)
		if err != nil {
			return err
		}
		if told || x.holds(r, standings) {
			continue
		}
		if err := x.expire(ctx, x.lapsed(r, now), mark, now); err != nil {
			return err
		}
	}
	return nil
}

// calls says whether a ruling asks for anything but to wait.
func (x *Expiry) calls(r leases.Ruling) bool {
	standings, _ := x.Projections.SelfPreservation()
	return r.Start && x.Preserve || r.End || !x.holds(r, standings)
}

// holds says whether no lease may be taken out. What operators decided holds even where self-preservation is off.
func (x *Expiry) holds(r leases.Ruling, standings *leases.Standings) bool {
	return r.Hold && (x.Preserve || standings.Of(r.Namespace).Forced)
}

func (x *Expiry) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpFor)
	defer cancel()
	head, err := x.Service.store.Head(ctx)
	if err != nil {
		return err
	}
	return x.Projections.WaitFor(ctx, head)
}

// lapsed are the leases of a namespace that are to be taken out now.
func (x *Expiry) lapsed(r leases.Ruling, now time.Time) []leases.Lease {
	overdue := x.Projections.Leases().Overdue(r.Namespace, maxExpire)
	lapsed := overdue[:0]
	for _, l := range overdue {
		if now.Sub(l.Deadline) >= r.Wait || !x.Preserve {
			lapsed = append(lapsed, l)
		}
	}
	return lapsed
}

// expiring is a lease that is being taken out.
type expiring struct {
	lease   leases.Lease
	request eventstore.AppendRequest
}

// expire takes the instances out that nothing has happened to since they were judged.
func (x *Expiry) expire(ctx context.Context, lapsed []leases.Lease, mark leases.Mark, now time.Time) error {
	ends := make([]expiring, 0, len(lapsed))
	requests := make([]eventstore.AppendRequest, 0, len(lapsed))
	for _, l := range lapsed {
		end, ok, err := x.prepare(ctx, l, now)
		if err != nil {
			return err
		}
		if ok {
			ends = append(ends, end)
			requests = append(requests, end.request)
		}
	}
	if len(requests) == 0 {
		return nil
	}
	if !x.tied {
		var err error
		if ends, requests, err = x.lookAgain(ctx, ends); err != nil || len(requests) == 0 {
			return err
		}
	}
	if still, able := x.Listening.Sample(x.Now(), x.state()); !able || still != mark {
		return nil
	}
	results, err := x.Service.store.Append(ctx, nil, requests...)
	if err != nil {
		return err
	}
	var newest eventstore.Position
	for i := range results {
		key := ends[i].lease.Key
		x.Service.observe(Outcome{Command: domain.ExpireLease{}, Err: results[i].Err, Times: 1})
		var conflict *eventstore.WrongExpectedRevision
		switch {
		case results[i].Err == nil:
			x.tied = !results[i].Untied
			delete(x.unread, key)
			newest = max(newest, results[i].Position)
		case errors.As(results[i].Err, &conflict) && conflict.Stream == eventstore.HeartbeatStream(key):
			x.noteUnread(key, conflict.Events) // it was heard, or its heartbeats cannot be read: the next look tells
		}
	}
	if newest == 0 {
		return nil
	}
	return x.Projections.WaitFor(ctx, newest)
}

// lookAgain leaves the leases that were not heard while their ends were prepared. A store that can tie an append to
// the heartbeats sees to that itself; over any other this is as close as a look can come.
func (x *Expiry) lookAgain(ctx context.Context, ends []expiring) (still []expiring, requests []eventstore.AppendRequest, err error) {
	if err := x.catchUp(ctx); err != nil {
		x.Listening.Refused(DeafnessOf(err))
		return nil, nil, err
	}
	for _, end := range ends {
		if l, ok := x.Projections.Leases().Find(end.lease.Key); ok && l.Deadline.Equal(end.lease.Deadline) && l.Epoch == end.lease.Epoch {
			still = append(still, end)
			requests = append(requests, end.request)
		}
	}
	return still, requests, nil
}

// prepare decides a lease's end. ok is false if there is nothing to end any more.
func (x *Expiry) prepare(ctx context.Context, l leases.Lease, now time.Time) (end expiring, ok bool, err error) {
	entry := x.Service.catalog().Find(l.Key)
	if entry == nil || entry.Epoch != l.Epoch {
		return end, false, nil // the table is about to learn of it
	}
	heard, err := x.lastHeard(ctx, l, entry)
	if err != nil {
		return end, false, err
	}
	events, err := domain.Decide(entry.Instance(), domain.ExpireLease{
		Key: l.Key, Epoch: l.Epoch, LastHeartbeat: heard.at, Late: now.Sub(l.Deadline),
	})
	if err != nil || len(events) == 0 {
		return end, false, nil
	}
	request := eventstore.AppendRequest{
		Stream: eventstore.LifecycleStream(l.Key), Expected: eventstore.Unchanged(entry.Events), Other: eventstore.Unchanged(heard.events),
		Events: make([]eventstore.EventData, len(events)),
	}
	for i, e := range events {
		data, err := domain.Encode(e)
		if err != nil {
			return end, false, err
		}
		request.Events[i] = eventstore.EventData{Type: e.EventType(), Data: data, Metadata: registry.metadata(false)}
	}
	return expiring{l, request}, true, nil
}
