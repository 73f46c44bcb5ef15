package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Pauses after failures, and the most that one request holds.
const (
	keepFirstPause  = 250 * time.Millisecond
	refusedPause    = 30 * time.Second // after a refusal that a repetition will hardly change
	maxCommands     = 500              // of one request
	maxCommandBytes = 1 << 20          // of one request, about: escapes may make it six times as long, and a registry takes 8 MiB
	maxHeartbeats   = 10_000           // of one request
	beatsPerTTL     = 3
	maxAttemptPause = 5 * time.Second
	// gather is how long run waits after it was woken, so that what many instances want at once goes into one request.
	gather = 2 * time.Millisecond
)

// keeper sends what the kept instances of a client need. One goroutine sends, while there are instances: first all
// heartbeats that are due in one request, then all commands in another.
//
// INVARIANT: only the goroutine of run sends requests and reads their results, so at most one request about an instance
// is under way. What users want changes at any time: versions tell which change a result is about.
type keeper struct {
	client *Client
	wake   chan struct{} // holds a token when run must look again; never closed

	mu      sync.Mutex
	kept    map[string]*Kept // by namespace/service/id; final ones are taken out
	running bool             // run runs
	ctx     context.Context  // of the requests that run sends; ends when no instance is left
	cancel  context.CancelFunc
	changed chan struct{} // closed, and made anew, when a state changes

	failures int           // of whole requests, in a row
	pause    time.Time     // no request is sent before
	took     time.Duration // how long the newest request took that was answered
	shortest time.Duration // the shortest interval of the instances
	// dice is a random number in [0, 1), drawn for each reply: instances that one reply refuses are tried again together, in one request.
	dice float64

	notices  []*Kept // whose OnChange is to be called
	noticing bool    // notify runs
}

func newKeeper(c *Client) *keeper {
	return &keeper{client: c, wake: make(chan struct{}, 1), kept: map[string]*Kept{}, changed: make(chan struct{})}
}

func (k *keeper) add(one *Kept) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept[one.name] != nil {
		return AlreadyKept{one.Key}
	}
	k.kept[one.name] = one
	if k.ctx == nil || k.ctx.Err() != nil {
		k.ctx, k.cancel = context.WithCancel(context.Background())
	}
	if !k.running {
		k.running = true
		go k.run()
	}
	k.rouse()
	return nil
}

// rouse has run look again.
func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default: // run is to look already
	}
}

// run sends until no instance is left.
func (k *keeper) run() {
	for {
		k.mu.Lock()
		if len(k.kept) == 0 {
			k.running = false
			k.mu.Unlock()
			return
		}
		due, wait := k.look(time.Now())
		ctx := k.ctx
		k.mu.Unlock()
		if due.empty() {
			timer := time.NewTimer(wait)
			select {
			case <-k.wake:
				pause(ctx, gather)
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		k.send(ctx, due)
	}
}

// look gives what is to be sent now, or after which time to look again. REQUIRES: the caller holds mu.
func (k *keeper) look(now time.Time) (due round, wait time.Duration) {
	wait = time.Hour
	later := func(at time.Time) { wait = max(min(wait, at.Sub(now)), time.Millisecond) }
	if now.Before(k.pause) {
		later(k.pause)
		return due, wait
	}
	k.shortest = k.client.options.Timeout
	for _, one := range k.kept {
		k.shortest = min(k.shortest, one.interval())
		if now.Before(one.retry) {
			later(one.retry)
			continue
		}
		next, at := one.next(now)
		if next == nothing {
			later(at)
			continue
		}
		due.add(next, one)
	}
	if len(due.beats) > 0 { // the others come with them, so that soon all are due at once
		for _, one := range k.kept {
			if next, at := one.next(now); next == nothing && !now.Before(one.retry) && at.Equal(one.due) && at.Sub(now) < one.interval()*2/3 {
				due.add(heartbeat, one)
			}
		}
	}
	return due, wait
}

// interval is the time between two heartbeats. An instance without a lease needs none, but they find out that it is not registered any more.
func (k *Kept) interval() time.Duration {
	if k.Details.TTL == domain.NoTTL {
		return domain.DefaultTTL / beatsPerTTL
	}
	return time.Duration(k.Details.TTL) / beatsPerTTL
}

// step is what an instance needs next.
type step int

const (
	nothing step = iota
	heartbeat
	inspect // ask who the live instance is
	register
	reportHealth
	changeTraffic
	drain
	deregister
)

// next is what the instance needs next. If that is nothing, at says when to look again.
func (k *Kept) next(now time.Time) (_ step, at time.Time) {
	registered := k.state.Phase == Registered
	switch {
	case k.ending && !k.sent:
		return deregister, now // there is nothing to tell the registry
	case k.ending && registered && k.Drain > 0 && k.draining.IsZero():
		return drain, now
	case k.ending && registered && now.Before(k.draining):
		if k.due.After(now) {
			return nothing, earlier(k.due, k.draining)
		}
		return heartbeat, now
	case k.ending:
		return deregister, now
	case k.conflict:
		return inspect, now
	case k.probe:
		return heartbeat, now
	case !registered || k.details.behind():
		return register, now
	case k.reported.behind():
		return reportHealth, now
	case k.routed.behind():
		return changeTraffic, now
	case k.due.After(now):
		return nothing, k.due
	}
	return heartbeat, now
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// heard notes that the registry has confirmed the registration. REQUIRES: the caller holds mu.
func (k *Kept) heard(now time.Time, at wire.Position, epoch uint64) {
	k.probe, k.conflict, k.failures, k.retry = false, false, 0, time.Time{}
	k.due = now.Add(jitter(k.interval()))
	if k.timeline != at.Timeline && k.state.Epoch != 0 {
		// The registry was restored: what it has of the instance may be older than what it confirmed.
		k.details.have, k.reported.have, k.routed.have = 0, 0, 0
	}
	k.timeline = at.Timeline
	state := State{Phase: Registered, Epoch: k.state.Epoch, Heard: now}
	if epoch != 0 {
		state.Epoch = epoch
	}
	k.become(state)
}

// jitter is a random time around d.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// failed notes a failure. The instance is looked at again after a pause, which grows: a refusal may be over soon, e.g. while a token is
// replaced, and the lease goes on to its end. REQUIRES: the caller holds mu.
func (k *Kept) failed(now time.Time, err error) {
	longest := min(maxAttemptPause, max(k.interval(), keepFirstPause))
	if isRefused(err) {
		longest = min(refusedPause, 2*k.interval())
	}
	pause := min(keepFirstPause<<min(k.failures, 10), longest)
	k.failures++
	k.retry = now.Add(pause/2 + time.Duration(k.keeper.dice*float64(pause/2)))
	k.failing(now, err)
}

// failing notes an error in the state.
func (k *Kept) failing(now time.Time, err error) {
	state := k.state
	if state.Err == nil {
		state.Failing = now
	}
	state.Err = err
	k.become(state)
}

// lost notes that no registration is live. REQUIRES: the caller holds mu.
func (k *Kept) lost(now time.Time, err error) {
	k.probe, k.conflict, k.takeOver, k.over = false, false, false, 0
	k.details.have, k.reported.have, k.routed.have = 0, 0, 0
	state := k.state
	state.Phase = Pending
	k.become(state)
	k.failing(now, err)
}

// finish makes the state final. REQUIRES: the caller holds mu.
func (k *Kept) finish(phase Phase, err error) {
	if k.state.Phase.final() {
		return
	}
	state := k.state
	state.Phase, state.Err = phase, err
	k.become(state)
	if k.unbind != nil {
		k.unbind()
	}
	if k.endingDone != nil {
		k.endingDone.Stop()
	}
	delete(k.keeper.kept, k.name)
	if len(k.keeper.kept) == 0 {
		k.keeper.cancel() // nobody waits for a request that is under way
	}
	close(k.done)
	k.keeper.rouse()
}

// become sets the state, and tells those who wait for it. REQUIRES: the caller holds mu.
func (k *Kept) become(state State) {
	tell := state.Phase != k.state.Phase || state.Epoch != k.state.Epoch || !sameError(state.Err, k.state.Err)
	k.state = state
	if !tell {
		return
	}
	keeper := k.keeper
	close(keeper.changed)
	keeper.changed = make(chan struct{})
	if k.OnChange == nil || k.notifying {
		return
	}
	k.notifying = true
	keeper.notices = append(keeper.notices, k)
	if !keeper.noticing {
		keeper.noticing = true
		go keeper.notify()
	}
}

func sameError(a, b error) bool {
	return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error())
}

// notify calls OnChange of all whose state changed, and ends.
func (k *keeper) notify() {
	for {
		k.mu.Lock()
		if len(k.notices) == 0 {
			k.noticing = false
			k.mu.Unlock()
			return
		}
		one := k.notices[0]
		k.notices = k.notices[1:]
		one.notifying = false
		state := one.state
		k.mu.Unlock()
		one.OnChange(state)
	}
}

// isAway says whether an error is about the registry, not about the request: a repetition may succeed.
func isAway(err error) bool {
	var p *wire.Problem
	return !errors.As(err, &p) || p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests
}

// away notes the outcome of a whole request. After a failure nothing is sent for a while. REQUIRES: the caller holds mu.
func (k *keeper) away(now time.Time, err error) {
	if err == nil {
		k.failures, k.pause = 0, time.Time{}
		return
	}
	pause := min(keepFirstPause<<min(k.failures, 10), maxAttemptPause)
	k.failures++
	k.pause = now.Add(pause/2 + rand.N(pause/2))
}
