package probes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// A node renews its registration as every instance does. Its lease is short, so that another node takes over soon.
const (
	LeaseTTL   = 3 * time.Second
	renewEvery = time.Second
	// otherEvery is after how long a node whose name another process has tries again.
	otherEvery = 30 * time.Second
	// leaveWithin is how long a node that shuts down tries to deregister.
	leaveWithin = time.Second
)

// Member keeps a node registered.
type Member struct {
	Node     *OneOfMany
	Process  string // tells this process from others with the node's name
	Address  string // of the node
	Version  string
	Do       func(context.Context, commands.Caller, commands.Request) commands.Result
	Logger   *slog.Logger
	OnChange func() // called when the node is registered, or is not any more

	yields bool // another process has the node's name: this one registers only where nobody has it
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
	var command domain.Command = domain.SendHeartbeat{Key: m.key(), Owner: m.Process}
	if !registered {
		command = domain.RegisterInstance{Key: m.key(), Owner: m.Process, CreateOnly: m.yields, Details: domain.Details{
			Address: m.Address, Version: m.Version, TTL: domain.Duration(LeaseTTL),
		}}
	}
	sent := m.Node.now()
	ctx, cancel := context.WithTimeout(ctx, LeaseTTL)
	defer cancel()
	err := m.Do(ctx, Caller, commands.Request{Command: command}).Err
	switch {
	case err == nil:
		m.Node.renewed(sent)
		m.yields = false
		return true, renewEvery
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return registered, renewEvery
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
	return registered, renewEvery / 4
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
