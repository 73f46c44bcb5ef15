package probes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// A node renews its registration as every instance does. Its lease is short, so that another node takes over soon: a check is
// looked at again within two of its intervals. The lease follows the shortest interval in use, because a lease that is
// shorter than need be takes a pause of the node for its death.
const (
	LeaseTTL = 3 * time.Second // at most
	// renewals are how often a node renews within its lease.
	renewals = 3
	// lengthenAfter is after how long without checks of short intervals the lease gets longer again. Each change is an event.
	lengthenAfter = time.Minute
	// otherEvery is after how long a node whose name another process has tries again.
	otherEvery = 30 * time.Second
	// leaveWithin is how long a node that shuts down tries to deregister.
	leaveWithin = time.Second
	// noticedWithin is how long it takes others to notice that a lease has lapsed.
	noticedWithin = 250 * time.Millisecond
)

// LeaseFor is the lease of a node where the shortest interval of a check is given; 0: there is no check.
func LeaseFor(shortest time.Duration) time.Duration {
	if shortest == 0 {
		return LeaseTTL
	}
	return min(max(shortest*3/4, domain.MinTTL), LeaseTTL)
}

// takenOverWithin is how soon a node looks at a check that it took over, at the latest: so soon that, with the lease of the
// node before it, no more than two intervals pass.
func takenOverWithin(interval time.Duration) time.Duration {
	return min(interval, 2*interval-LeaseFor(interval)-noticedWithin)
}

// Member keeps a node registered.
type Member struct {
	Node     *OneOfMany
	Process  string // tells this process from others with the node's name
	Address  string // of the node
	Version  string
	Do       func(context.Context, commands.Caller, commands.Request) commands.Result
	Logger   *slog.Logger
	OnChange func()               // called when the node is registered, or is not any more
	Shortest func() time.Duration // the shortest interval of all checks that are probed; 0: there is none

	yields bool          // another process has the node's name: this one registers only where nobody has it
	ttl    time.Duration // of the lease, or less
	unsure bool          // whether the lease has that ttl, because a change of it was not answered
	epoch  uint64        // of the registration
	needed time.Time     // when the lease had to be as short as it is, the last time
}

// Caller is on whose behalf nodes are registered and checks are reported.
var Caller = commands.Caller{Actor: "rollcall", Via: domain.ViaProbes, Registry: true}

func (m *Member) key() domain.Key {
	return domain.Key{Namespace: NodesService.Namespace, Service: NodesService.Service, ID: m.Node.name}
}

// Run keeps the node registered until the context ends, and then deregisters it.
func (m *Member) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for registered := false; ; {
		select {
		case <-ctx.Done():
			m.leave(registered)
			return nil
		case <-timer.C:
		}
		var wait time.Duration
		was := registered
		registered, wait = m.renew(ctx, registered)
		if was != registered && m.OnChange != nil {
			m.OnChange()
		}
		timer.Reset(wait)
	}
}

// renew registers the node, or renews its lease. It gives the time until it is to be called again.
func (m *Member) renew(ctx context.Context, registered bool) (still bool, wait time.Duration) {
	if !registered {
		m.ttl = LeaseFor(m.Shortest())
	} else if want := m.wanted(m.Node.now()); (want != m.ttl || m.unsure) && m.change(ctx, want) {
		return true, want / renewals
	}
	var command domain.Command = domain.SendHeartbeat{Key: m.key(), Owner: m.Process}
	if !registered {
		command = m.registration(m.ttl)
	}
	sent := m.Node.now()
	ctx, cancel := context.WithTimeout(ctx, m.ttl)
	defer cancel()
	result := m.Do(ctx, Caller, commands.Request{Command: command})
	err := result.Err
	switch {
	case err == nil:
		m.Node.renewed(sent, m.ttl)
		m.yields, m.epoch, m.unsure = false, result.Epoch, m.unsure && registered
		return true, m.ttl / renewals
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return registered, m.ttl / renewals
	case errors.As(err, new(domain.LeaseLapsed)), errors.As(err, new(domain.UnknownInstance)):
		m.Node.lost()
		m.Logger.Warn("this node was away, and others probed its instances", "node", m.Node.name)
		return false, 0
	case errors.As(err, new(domain.OtherOwner)), errors.As(err, new(domain.AlreadyLive)):
		m.Node.lost()
		m.yields = true
		m.Logger.Error("another process has this node's name, so this one probes nothing; give each node a --node-name of its own", "node", m.Node.name)
		return false, otherEvery
	}
	m.Logger.Debug("this node could not renew its registration", "node", m.Node.name, "cause", err)
	return registered, m.ttl / (4 * renewals)
}

func (m *Member) registration(ttl time.Duration) domain.RegisterInstance {
	return domain.RegisterInstance{Key: m.key(), Owner: m.Process, CreateOnly: m.yields, Details: domain.Details{
		Address: m.Address, Version: m.Version, TTL: domain.Duration(ttl),
	}}
}

// wanted is the ttl that the lease should have at a moment: a shorter one at once, a longer one after a while.
func (m *Member) wanted(now time.Time) time.Duration {
	want := LeaseFor(m.Shortest())
	if want <= m.ttl {
		m.needed = now
	} else if now.Sub(m.needed) < lengthenAfter {
		return m.ttl
	}
	return want
}

// change gives the lease another ttl. false: that failed, or it was not answered; then the node counts with the shorter one. The
// registration names the epoch, because another process may have the node's name by now.
func (m *Member) change(ctx context.Context, ttl time.Duration) bool {
	sent := m.Node.now()
	m.Node.atMost(sent, ttl)
	m.ttl, m.unsure = min(m.ttl, ttl), true
	ctx, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	command := m.registration(ttl)
	command.CreateOnly, command.Epoch = false, m.epoch
	if err := m.Do(ctx, Caller, commands.Request{Command: command, IfLive: true}).Err; err != nil {
		m.Logger.Debug("this node could not change its lease", "node", m.Node.name, "cause", err)
		return false
	}
	m.Node.renewed(sent, ttl)
	m.ttl, m.unsure = ttl, false
	return true
}

// leave deregisters the node, so that others take over at once.
func (m *Member) leave(registered bool) {
	if !registered {
		return
	}
	m.Node.lost()
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	command := domain.DeregisterInstance{Key: m.key(), Owner: m.Process, Reason: "the node shuts down"}
	if err := m.Do(ctx, Caller, commands.Request{Command: command}).Err; err != nil {
		m.Logger.Debug("this node could not deregister", "node", m.Node.name, "cause", err)
	}
}
