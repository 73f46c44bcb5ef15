package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
)

// Registration is an instance that Keep keeps registered.
type Registration struct {
	Key domain.Key
	// Details describe the instance. TTL 0 stands for domain.DefaultTTL, and Weight 0 for domain.DefaultWeight: an
	// instance that is to get no traffic drains. Without a Status the instance begins as passing. Checks that are nil leave
	// the checks of the instance as they are.
	Details domain.Details
	// Owner tells this process from others that register the key; "": a value made when the process started. With a token
	// that may write its own instances only, Owner must be the token's name, or begin with the name and a colon.
	Owner string

	Drain time.Duration // how long the instance drains at the end, before it is deregistered; 0: it does not drain
	Grace time.Duration // how long the end may take besides Drain; 0: DefaultGrace
	// Reason is why the instance drains and is deregistered at the end; "": the cause of the context's end, or
	// DefaultReason.
	Reason string

	// OnChange is called after the state changed, for one instance of a client at a time. It gets the newest state: states
	// between two calls are left out. A call that blocks delays other calls, never heartbeats. nil: no call.
	OnChange func(State)
}

// Defaults of a Registration.
const (
	DefaultGrace  = 5 * time.Second
	DefaultReason = "the process ends"
)

// Phase is where a kept instance is.
type Phase string

// The phases.
const (
	Pending    Phase = "pending"    // the registry has not confirmed a registration yet, or lost it: it is sent until it does
	Registered Phase = "registered" // the registry has confirmed the registration
	Replaced   Phase = "replaced"   // final: another owner registered the key, so this one leaves the key alone
	Ended      Phase = "ended"      // final: deregistered, or given up with an error
)

// final says whether a phase is the last.
func (p Phase) final() bool { return p == Replaced || p == Ended }

// State is how a kept instance is.
type State struct {
	Phase   Phase
	Epoch   uint64    // of the newest registration; 0: there was none
	Heard   time.Time // when the registry last confirmed the registration; zero: never
	Err     error     // the newest failure; nil: the newest request was carried out
	Failing time.Time // since when requests fail; zero: Err is nil
}

// Kept is an instance that is kept registered. Its methods may be called by several goroutines, and never wait for the
// registry.
type Kept struct {
	keeper *keeper
	name   string // namespace/service/id
	done   chan struct{}
	unbind func() bool // lets go of the context

	// class is how long a request about the instance may take at most, about: classes differ by factors of 4, so that there are few.
	// Instances of one class share requests, and the shortest class comes last, so that a registry that is too slow for it renews the others.
	// It belongs to the keeper's goroutine.
	class time.Duration

	// The fields below belong to keeper.mu.

	Registration
	state State

	health  Health // the newest report; Status "": none was made
	traffic domain.Traffic
	why     string // reason of traffic

	details, reported, routed versions // of Details, health and traffic

	sent       bool        // a registration was sent: the registry may have carried it out
	takeOver   bool        // the next registration may replace any live instance
	over       uint64      // the epoch that the next registration may replace; 0: takeOver says
	probe      bool        // an instance is live, and it is not known whether it is this one
	conflict   bool        // the live instance is another owner's
	timeline   string      // of the newest confirmation
	due        time.Time   // of the next heartbeat
	retry      time.Time   // before then, nothing is sent
	failures   int         // in a row
	ending     bool        // the end has begun
	draining   time.Time   // while ending: when the instance is deregistered; zero: it has not drained yet
	notifying  bool        // OnChange will be called
	endingDone *time.Timer // ends the end
}

// versions count changes of a value, and say which change the registry has confirmed.
type versions struct{ want, have uint64 }

func (v versions) behind() bool { return v.have < v.want }

// processOwner tells this process from all others.
var processOwner = uuid.NewString()

// AlreadyKept refuses to keep an instance that the client keeps already.
type AlreadyKept struct{ Key domain.Key }

func (e AlreadyKept) Error() string {
	return fmt.Sprintf("instance %s is kept registered already", e.Key)
}

// Keep registers an instance and keeps it registered until the context ends. Then the instance drains, if the
// Registration says so, and is deregistered. Keep does not wait for the registry, and a registry that is away never ends
// the keeping: requests are repeated, with growing random pauses.
//
// The heartbeats of all instances that a client keeps go into one request. An instance whose lease has expired, which
// somebody deregistered, or which a restored registry does not have, is registered again. An instance that another owner
// has registered meanwhile is left alone: the state is then Replaced.
//
// The error is a domain.InvalidField or AlreadyKept.
func (c *Client) Keep(ctx context.Context, r Registration) (*Kept, error) {
	var err error
	if r.Key, err = c.key(r.Key); err != nil {
		return nil, err
	}
	r.Details.TTL = cmp.Or(r.Details.TTL, domain.Duration(domain.DefaultTTL))
	r.Details.Weight = cmp.Or(r.Details.Weight, domain.DefaultWeight)
	r.Owner, r.Grace = cmp.Or(r.Owner, processOwner), cmp.Or(r.Grace, DefaultGrace)
	if err := (domain.RegisterInstance{Key: r.Key, Owner: r.Owner, Details: r.Details}).Validate(); err != nil {
		return nil, err
	}
	if err := (domain.DeregisterInstance{Key: r.Key, Owner: r.Owner, Reason: r.Reason}).Validate(); err != nil {
		return nil, err
	}
	k := &Kept{
		keeper: c.keeper, name: r.Key.String(), done: make(chan struct{}), Registration: r,
		state: State{Phase: Pending}, takeOver: true, details: versions{want: 1},
	}
	if err := c.keeper.add(k); err != nil {
		return nil, err
	}
	unbind := context.AfterFunc(ctx, func() {
		reason := ""
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
			reason = cause.Error()
		}
		k.End(reason)
	})
	c.keeper.mu.Lock()
	k.unbind = unbind
	c.keeper.mu.Unlock()
	return k, nil
}

// State is how the instance is now.
func (k *Kept) State() State {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	return k.state
}

// Done is closed when the state is final.
func (k *Kept) Done() <-chan struct{} { return k.done }

// WaitRegistered waits until the registry has confirmed the registration. The error is the newest failure, or the
// context's.
func (k *Kept) WaitRegistered(ctx context.Context) error {
	for {
		k.keeper.mu.Lock()
		state, changed := k.state, k.keeper.changed
		k.keeper.mu.Unlock()
		switch {
		case state.Phase == Registered:
			return nil
		case state.Phase.final():
			return cmp.Or(state.Err, errors.New("the instance is "+string(state.Phase)))
		}
		select {
		case <-ctx.Done():
			return cmp.Or(state.Err, context.Cause(ctx))
		case <-changed:
		}
	}
}

// ReportHealth reports the instance's status: now, and again after each registration. Of reports in quick succession only
// the newest is sent.
func (k *Kept) ReportHealth(report Health) error {
	report.Source = cmp.Or(report.Source, domain.FromClient)
	command := domain.ReportHealth{Key: k.Key, Owner: k.Owner, Status: report.Status, Source: report.Source, Output: report.Output}
	if err := command.Validate(); err != nil {
		return err
	}
	k.change(func() { k.health, k.reported.want = report, k.reported.want+1 })
	return nil
}

// ChangeTraffic drains the instance, or lets traffic come again: now, and again after each registration.
func (k *Kept) ChangeTraffic(traffic domain.Traffic, reason string) error {
	if err := (domain.ChangeTraffic{Key: k.Key, Owner: k.Owner, Traffic: traffic, Reason: reason}).Validate(); err != nil {
		return err
	}
	k.change(func() { k.traffic, k.why, k.routed.want = traffic, reason, k.routed.want+1 })
	return nil
}

// Update changes the instance's details. A status in details is not used: ReportHealth changes the status.
func (k *Kept) Update(details domain.Details) error {
	details.TTL = cmp.Or(details.TTL, domain.Duration(domain.DefaultTTL))
	details.Weight = cmp.Or(details.Weight, domain.DefaultWeight)
	if err := details.Validate(); err != nil {
		return err
	}
	k.change(func() {
		details.Status = k.Details.Status
		k.Details, k.details.want = details, k.details.want+1
	})
	return nil
}

// End ends the keeping before the context does. A reason takes the place of the Registration's; "": none is given. End
// does not wait: Done says when the end is over.
func (k *Kept) End(reason string) {
	k.change(func() {
		if k.ending {
			return
		}
		k.ending = true
		if (domain.DeregisterInstance{Key: k.Key, Owner: k.Owner, Reason: reason}).Validate() != nil {
			reason = "" // too long for the history
		}
		k.retry, k.keeper.pause = time.Time{}, time.Time{} // there is little time left
		k.Reason = cmp.Or(reason, k.Reason, DefaultReason)
		k.endingDone = time.AfterFunc(k.Drain+k.Grace, func() {
			k.keeper.mu.Lock()
			defer k.keeper.mu.Unlock()
			k.finish(Ended, cmp.Or(k.state.Err, errors.New("the registry did not confirm the deregistration in time")))
		})
	})
}

// LetGo ends the keeping without a word to the registry: the registration stays until its lease ends, or until the next
// process with the same owner keeps it. It is for a process that is about to start again.
func (k *Kept) LetGo() {
	k.keeper.mu.Lock()
	defer k.keeper.mu.Unlock()
	k.finish(Ended, nil)
}

// change changes what is wanted of the instance, and has the keeper look at it.
func (k *Kept) change(apply func()) {
	k.keeper.mu.Lock()
	if !k.state.Phase.final() {
		apply()
	}
	k.keeper.mu.Unlock()
	k.keeper.rouse()
}
