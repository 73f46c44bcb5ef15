package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/dns"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// agentDNS is the part of an agent that answers over DNS, from its cache.
type agentDNS struct {
	server  *dns.Server
	catalog *watch.Catalog
	packets net.PacketConn
	streams net.Listener
}

// checkAgentDNS refuses settings with which DNS would tell the catalog to other machines.
func checkAgentDNS(s *agentSettings) error {
	if err := s.dns.check(); err != nil || !s.dns.on() {
		return err
	}
	if err := checkListen("dns-listen", s.dns.listen); err != nil {
		return err
	}
	if !s.insecure && !web.LoopbackListen(s.dns.listen) {
		return usageError{fmt.Errorf("--dns-listen %s is not a loopback address: the agent has no access control, so that needs --insecure", s.dns.listen)}
	}
	return nil
}

// openAgentDNS has the watcher watch all services: a name of DNS has no case, so that no service can be asked for by it.
func openAgentDNS(s *agentSettings, w *watch.Watcher, observed *metrics.DNS, logger *slog.Logger) (d *agentDNS, err error) {
	d = &agentDNS{catalog: w.Catalog()}
	options := s.dns.options()
	options.Observer, options.Logger = observed, logger
	if d.server, err = dns.New(cacheDirectory{agent.NewDirectory(d.catalog)}, options); err != nil {
		return nil, err
	}
	if d.packets, d.streams, err = dns.Listen(s.dns.listen); err != nil {
		return nil, fmt.Errorf("dns-listen: %w", err)
	}
	logger.Info("dns is answered", "address", d.packets.LocalAddr().String(), "zones", s.dns.zones)
	return d, nil
}

// wait waits a short time until the catalog is known, so that an agent that is ready answers.
func (d *agentDNS) wait(ctx context.Context) {
	const longest = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	_ = d.catalog.Wait(ctx) // until then questions are refused with SERVFAIL
}

// cacheDirectory is an agent's cache as DNS asks it.
type cacheDirectory struct{ *agent.Directory }

// Nodes implements dns.Registry.
func (d cacheDirectory) Nodes(namespace string) (dns.Group, bool) {
	return d.Find(namespace, wire.NodeService)
}

// Rights implements dns.Registry. Everything in the cache may be seen.
func (d cacheDirectory) Rights() uint64 { return 0 }

// Find implements dns.Registry.
func (d cacheDirectory) Find(namespace, name string) (dns.Group, bool) {
	group := d.Directory.Find(namespace, name)
	return group, group != nil
}
