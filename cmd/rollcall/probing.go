package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/probes"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// probing looks at the instances that are this node's.
type probing struct {
	name   string
	nodes  probes.Nodes
	looker *probes.Looker
	prober *probes.Prober
	member *probes.Member // nil: the registry has one node
}

// probing gives what the settings say of probes, or why they cannot be.
func (s *settings) probing() (o probes.LookerOptions, err error) {
	o = probes.LookerOptions{Now: time.Now, Reach: domain.Reach{Loopback: web.LoopbackListen(s.listen)}}
	if s.probes != "" && s.probes != "on" && s.probes != "off" {
		return o, fmt.Errorf("probes must be on or off, not %q", s.probes)
	}
	for _, text := range s.probeAllow {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return o, fmt.Errorf("probe-allow must be a network such as 10.0.0.0/8, not %q", text)
		}
		o.Reach.Networks = append(o.Reach.Networks, network)
	}
	if s.nodeName != "" {
		if err := (domain.Key{Namespace: domain.RegistryNamespace, Service: "prober", ID: s.nodeName}).ValidateNew(); err != nil {
			return o, errors.New("node-name must be 1-256 bytes of printable ASCII without space and / \\ ? # % \"")
		}
	}
	if s.probeCA != "" {
		pem, err := durable.ReadRegular(s.probeCA)
		if err != nil {
			return o, fmt.Errorf("probe-ca: %w", err)
		}
		if o.Roots = x509.NewCertPool(); !o.Roots.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("probe-ca: %s has no certificate in PEM", s.probeCA)
		}
	}
	return o, nil
}

// nodeNameOf is the name of a node that was given none: of the machine and the port.
func nodeNameOf(listens net.Addr) string {
	_, port, _ := net.SplitHostPort(listens.String())
	return machineName() + "-" + port
}

// machineName is the name of the machine, as a host name that an instance can have.
func machineName() string {
	name, err := os.Hostname()
	name = strings.ToLower(name)
	if err != nil || (domain.Details{Address: name, TTL: domain.Duration(domain.MinTTL)}).Validate() != nil {
		return "node"
	}
	return name
}

// openProbing makes the prober. Commands hold targets to its rule even where this node does not probe, for another may.
func (n *node) openProbing(context.Context) error {
	o, err := n.settings.probing()
	if err != nil {
		return err
	}
	n.commands.Reach = o.Reach
	if n.settings.probes == "off" {
		return nil
	}
	p := &probing{name: n.settings.nodeName, looker: probes.NewLooker(o)}
	if p.name == "" {
		p.name = machineName()
	}
	p.nodes = probes.Alone(p.name)
	if n.settings.remote() {
		one := probes.NewOneOfMany(p.name, func(key domain.ServiceKey) *catalog.View { return n.live.Catalog().View(key) }, time.Now)
		p.nodes = one
		p.member = &probes.Member{
			Node: one, Process: uuid.NewString(), Address: n.address(), Version: versionName(), Do: n.commands.Do, Logger: n.logger,
			OnChange: func() { p.prober.Rebalance() }, Shortest: func() time.Duration { return p.prober.Shortest() },
		}
	}
	p.prober = probes.New(probes.Options{
		Look: p.looker.Look, Report: p.reporter(n.commands), Mine: p.nodes.Mine, Now: time.Now, Logger: n.logger, Concurrency: n.settings.probeConcurrency,
		Observer: n.metrics.Probes(probes.Kinds[:], probes.Results[:], func() metrics.ProbeNumbers {
			now := p.prober.Numbers()
			return metrics.ProbeNumbers{Checks: now.Checks, InFlight: now.InFlight, Waiting: now.Waiting, Held: now.Held, Holding: now.Holding}
		}),
	})
	n.probing = p
	n.onClose(func() error { p.looker.Close(); return nil })
	return nil
}

// address is the address under which this node is registered.
func (n *node) address() string {
	host, _, err := net.SplitHostPort(n.settings.listen)
	if ip, bad := netip.ParseAddr(host); err == nil && (bad == nil && !ip.IsUnspecified() || bad != nil && host != "") {
		return host
	}
	return machineName()
}

// reporter records the changes of checks.
func (p *probing) reporter(service *commands.Service) func(context.Context, []probes.Report) []error {
	return func(ctx context.Context, reports []probes.Report) []error {
		requests := make([]commands.Request, len(reports))
		for i, r := range reports {
			requests[i].Command = r.Command(p.name)
		}
		errs := make([]error, len(reports))
		for i, result := range service.DoAll(ctx, probes.Caller, requests) {
			errs[i] = result.Err
		}
		return errs
	}
}

// run probes until the context ends.
func (p *probing) run(ctx context.Context, n *node) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.prober.Run(ctx) })
	group.Go(func() error { return p.prober.Follow(ctx, n.queries) })
	if p.member != nil {
		group.Go(func() error { return p.member.Run(ctx) })
		group.Go(func() error { return p.member.Node.Watch(ctx, n.live.Feed(), p.prober.Rebalance) })
	}
	return group.Wait()
}

// Look implements queries.Probes.
func (p *probing) Look(key domain.Key, check string) (next time.Time, by string) {
	next, _ = p.prober.Next(key, check)
	return next, p.nodes.Owner(key)
}

// status is how the prober is. Its time is one of this process's clock, with the monotonic reading.
func (p *probing) status() *wire.ProbeStatus {
	now := p.prober.Numbers()
	s := &wire.ProbeStatus{Node: p.name, Checks: now.Checks, Holding: now.Holding, Held: now.Held}
	if now.Holding {
		s.HeldSince = &now.Since
	}
	return s
}
