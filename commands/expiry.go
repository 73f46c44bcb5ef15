package commands

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// Projections are the read models, as the expiry needs them.
type Projections interface {
	Progress
	Leases() *leases.Table
	Removals() *leases.Removals
	// SelfPreservation gives the namespaces in which expiry is held, and the number of events of the registry's stream
	// that the answer is based on.
	SelfPreservation() (standings *leases.Standings, events uint64)
}

// Expiry ends the leases that lapsed. Several nodes may run an Expiry over one store.
//
// INVARIANT: an expiry is appended only if the lifecycle stream and the heartbeat stream of the instance still have
// the revisions that the expiry was decided on. So only one of several nodes expires a lease, and no expiry takes back
// a heartbeat that was answered.
type Expiry struct {
	Service     *Service
	Projections Projections
	Now         func() time.Time
	// Recorded is the time as the store records it, in which the log is told of moments. Steps of the wall clock move it, but not
	// what Now measures. nil: Now.
	Recorded func() time.Time
	Logger   *slog.Logger
	Preserve bool // hold expiry in a namespace where many leases lapse at once
	// Listening knows when this node could take renewals. nil: Run makes a Listening that notices pauses of this process
	// only.
	Listening *leases.Listening
	// State gives the error for which the event store takes no appends, or nil if the store takes appends. State is nil
	// if the store cannot say.
	State func() error
	// Leadership says whether this node leads. Only the node that leads looks for lapsed leases. nil: this node looks, whatever
	// other nodes do.
	Leadership eventstore.Leadership

	term             uint64 // in which this node leads; 0: it does not, or there is no Leadership
	started          time.Time
	reached          eventstore.Position // by the projections, when this process started
	downtimeRecorded bool
	tied             bool // the store ties appends, as the last append showed
	preservation     leases.Preservation
	// unread is the number of events of each heartbeat stream whose events cannot be read: they are damaged or trimmed.
	unread map[domain.Key]uint64
}

const (
	// maxExpire is how many leases of a namespace one look ends at most. The next look ends further leases.
	maxExpire = 2500
	// catchUpFor is how long a look waits for the projections.
	catchUpFor = 500 * time.Millisecond
)

// registry is the caller of every expiry.
var registry = Caller{Actor: "rollcall", Via: domain.ViaExpiry}

// Run looks for lapsed leases at every tick until the context ends. Looks run in a goroutine of their own, so that a
// look that takes long does not delay the samples of Listening.
func (x *Expiry) Run(ctx context.Context, ticks <-chan time.Time) error {
	if x.Listening == nil {
		x.Listening = leases.NewListening(x.Projections.Leases())
	}
	x.started, x.reached = x.Now(), x.Projections.Position()
	x.Listening.Start(x.started)
	looks := make(chan struct{}, 1) // asks for a look; full: a look is asked for already; never closed
	looking := make(chan struct{})  // closed by the goroutine of the looks when it ends
	go func() {
		defer close(looking)
		for {
			select {
			case <-ctx.Done():
				return
			case <-looks:
			}
			if err := x.look(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, eventstore.ErrOtherTerm) {
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

// look ends the leases that lapsed. A lease that lapsed while the registry could not take renewals is not ended.
func (x *Expiry) look(ctx context.Context) error {
	now := x.Now()
	mark, able := x.Listening.Sample(now, x.state())
	if !x.leads(now) {
		return nil
	}
	if err := x.recordInterruptions(ctx, now); err != nil || !able {
		return err
	}
	table := x.Projections.Leases()
	table.Sweep(now)
	standings, _ := x.Projections.SelfPreservation()
	rulings := x.preservation.Look(table, standings, table.Anew(), now)
	if err := x.removeCritical(ctx, standings, mark, now); err != nil {
		return err
	}
	if !slices.ContainsFunc(rulings, x.needsAction) {
		return nil
	}
	// A heartbeat that is durable, but that the projections have not applied yet, renews its lease, too.
	if err := x.catchUp(ctx); err != nil {
		x.Listening.Refused(DeafnessOf(err))
		return err
	}
	standings, events := x.Projections.SelfPreservation()
	for _, r := range x.preservation.Look(table, standings, table.Anew(), now) {
		recorded, err := x.recordRuling(ctx, r, &events)
		if err != nil {
			return err
		}
		if recorded || x.holds(r, standings) {
			continue
		}
		if err := x.expire(ctx, x.lapsed(r, now), mark, now); err != nil {
			return err
		}
	}
	return nil
}

// needsAction says whether a ruling asks for an event of the registry, or for the end of leases.
func (x *Expiry) needsAction(r leases.Ruling) bool {
	standings, _ := x.Projections.SelfPreservation()
	return r.Start && x.Preserve || r.End || !x.holds(r, standings)
}

// holds says whether expiry is held in the ruling's namespace. An operator's hold counts also where self-preservation
// is off.
func (x *Expiry) holds(r leases.Ruling, standings *leases.Standings) bool {
	return r.Hold && (x.Preserve || standings.Of(r.Namespace).Forced)
}

// catchUp waits until the projections have applied all events of the store, for catchUpFor at most.
func (x *Expiry) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpFor)
	defer cancel()
	head, err := x.Service.store.Head(ctx)
	if err != nil {
		return err
	}
	return x.Projections.WaitFor(ctx, head)
}

// lapsed gives the leases of a namespace that must be ended now.
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

// expiring is a lease with the request that ends it.
type expiring struct {
	lease   leases.Lease
	command domain.Command
	request eventstore.AppendRequest
}

// expire ends the leases of the instances that have no newer event than the leases were judged on.
func (x *Expiry) expire(ctx context.Context, lapsed []leases.Lease, mark leases.Mark, now time.Time) error {
	ends := make([]expiring, 0, len(lapsed))
	requests := make([]eventstore.AppendRequest, 0, len(lapsed))
	kept := x.Service.keeper()
	for _, l := range lapsed {
		end, ok, err := x.prepare(ctx, l, kept, now)
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
	results, err := x.store().Append(ctx, nil, requests...)
	if err != nil {
		return err
	}
	var newest eventstore.Position
	for i := range results {
		key := ends[i].lease.Key
		x.Service.observe(Outcome{Command: ends[i].command, Err: results[i].Err, Times: 1})
		var conflict *eventstore.WrongExpectedRevision
		switch {
		case results[i].Err == nil:
			x.tied = !results[i].Untied
			delete(x.unread, key)
			newest = max(newest, results[i].Position)
		case errors.As(results[i].Err, &conflict) && conflict.Stream == eventstore.HeartbeatStream(key):
			// The instance sent a heartbeat, or its heartbeats cannot be read. The next look finds out which.
			x.noteUnread(key, conflict.Events)
		}
	}
	if newest == 0 {
		return nil
	}
	return x.Projections.WaitFor(ctx, newest)
}

// lookAgain leaves out the leases that were renewed while their ends were prepared. A store that ties appends makes
// the look needless. Over another store the look narrows the time in which a heartbeat can be missed, and cannot
// close it (untied.go).
func (x *Expiry) lookAgain(ctx context.Context, ends []expiring) (still []expiring, requests []eventstore.AppendRequest, err error) {
	if err := x.catchUp(ctx); err != nil {
		x.Listening.Refused(DeafnessOf(err))
		return nil, nil, err
	}
	for _, end := range ends {
		if l, ok := x.Projections.Leases().Same(end.lease); ok && l.Deadline.Equal(end.lease.Deadline) && l.Epoch == end.lease.Epoch {
			still = append(still, end)
			requests = append(requests, end.request)
		}
	}
	return still, requests, nil
}

// prepare decides the end of a lease. ok is false if the lease has ended already.
func (x *Expiry) prepare(ctx context.Context, l leases.Lease, kept keeper, now time.Time) (end expiring, ok bool, err error) {
	entry := x.Service.catalog().Find(l.Key)
	if entry == nil || entry.Epoch() != l.Epoch {
		return end, false, nil // the table of leases has not applied the end yet
	}
	heard, err := x.lastHeard(ctx, l, entry)
	if err != nil {
		return end, false, err
	}
	end.lease = l
	end.command = domain.ExpireLease{Key: l.Key, Epoch: l.Epoch, LastHeard: heard.said(), Late: now.Sub(l.Deadline), KeptBy: kept.by(l, entry)}
	if l.Check != "" {
		end.command = domain.LapseCheck{Key: l.Key, Epoch: l.Epoch, Check: l.Check, Revision: l.Revision, Last: heard.said().LastHeartbeat, Began: heard.said().LastRegistered}
	}
	end.request, ok, err = decided(entry, end.command)
	end.request.Other = eventstore.Unchanged(heard.events)
	return end, ok, err
}

// decided is the request that appends what a command of the registry leads to. ok is false if that is nothing.
func decided(entry *catalog.Entry, command domain.Command) (request eventstore.AppendRequest, ok bool, err error) {
	events, err := domain.Decide(entry.Brief(), command)
	if err != nil || len(events) == 0 {
		return request, false, nil
	}
	request = eventstore.AppendRequest{
		Stream: eventstore.LifecycleStream(command.Instance()), Expected: eventstore.Unchanged(entry.Events()),
		Events: make([]eventstore.EventData, len(events)),
	}
	for i, e := range events {
		data, err := domain.Encode(e)
		if err != nil {
			return request, false, err
		}
		request.Events[i] = eventstore.EventData{Type: e.EventType(), Data: data, Metadata: registry.metadata(false)}
	}
	return request, true, nil
}
