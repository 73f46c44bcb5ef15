package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	vouched "github.com/rollcall-registry/rollcall/adapters/access"
	"github.com/rollcall-registry/rollcall/adapters/dns"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// naming is how the registry answers over DNS.
type naming struct {
	listen     string // "": not at all
	zones      []string
	datacenter string
	ttl        time.Duration
	rate       int
}

func (d *naming) flags(f *pflag.FlagSet) {
	f.StringVar(&d.listen, "dns-listen", "", "address and port to answer DNS on, over UDP and TCP, such as 127.0.0.1:8600; not at all when left out")
	f.StringSliceVar(&d.zones, "dns-zone", []string{"consul", "rollcall"}, "zone to answer for; may be given again")
	f.StringVar(&d.datacenter, "datacenter", "dc1", "the datacenter that Consul's names may end with")
	f.DurationVar(&d.ttl, "dns-ttl", time.Second, "how long others may keep an answer of DNS, in whole seconds; 0s: not at all")
	f.IntVar(&d.rate, "dns-rate-limit", 1000, "replies a second over UDP to one network (/24, or /56 of IPv6) that is not loopback; 0: no limit")
}

func (d *naming) on() bool { return d.listen != "" }

func (d *naming) options() dns.Options {
	return dns.Options{Zones: d.zones, Datacenter: d.datacenter, TTL: d.ttl, RateLimit: d.rate, Now: time.Now}
}

// check refuses values that DNS could not be answered with, also while it is not answered: they would be found wrong only on
// the day on which somebody turns it on.
func (d *naming) check() error {
	if _, err := dns.New(nil, d.options()); err != nil {
		return usageError{err}
	}
	return nil
}

// checkDNS refuses settings with which DNS would tell the catalog to whoever asks, because DNS carries no token.
func (s *settings) checkDNS() error {
	if err := s.dns.check(); err != nil || !s.dns.on() {
		return err
	}
	if !s.controlled() {
		if !s.insecure && !web.LoopbackListen(s.dns.listen) {
			return usageError{fmt.Errorf("others can reach %s, and access is off: give --access on with an anonymous role that may read the catalog, or --insecure to answer everybody", s.dns.listen)}
		}
		return nil
	}
	if s.anonymous != "" {
		return nil
	}
	if s.accessFile != "" {
		if config, err := vouched.Read(s.accessFile); err == nil && config.Anonymous != nil {
			return nil
		}
	}
	return usageError{errors.New("dns-listen needs callers without a token that may read the catalog, since DNS carries none: give --anonymous-role reader")}
}

// nameServer is the part of a node that answers over DNS.
type nameServer struct {
	server   *dns.Server
	observed *metrics.DNS
	packets  net.PacketConn
	streams  net.Listener
}

func (n *node) openDNS(context.Context) (err error) {
	if !n.settings.dns.on() {
		return nil
	}
	options := n.settings.dns.options()
	d := &nameServer{observed: n.metrics.DNS()}
	options.Observer, options.Logger = d.observed, n.logger
	if d.server, err = dns.New(&directory{Directory: n.queries.Directory(), access: n.access, ready: n.ready}, options); err != nil {
		return err
	}
	if d.packets, d.streams, err = dns.Listen(n.settings.dns.listen); err != nil {
		return fmt.Errorf("dns-listen: %w", err)
	}
	n.onClose(func() error { // they are closed already if the server ran
		d.packets.Close()
		d.streams.Close()
		return nil
	})
	n.dns = d
	n.logger.Info("dns is answered", "address", d.packets.LocalAddr().String(), "zones", n.settings.dns.zones)
	return nil
}

// directory is the registry as DNS asks it: with the rights of callers whom nothing names.
type directory struct {
	*queries.Directory
	access *web.Access // nil: access is not controlled
	ready  func() error
	nobody atomic.Pointer[nobody] // as it was lately
}

// nobody is the caller whom nothing names.
type nobody struct {
	*web.Identity
	rights uint64 // counts the changes of its grants, from 1
}

// identity is the caller whom nothing names, as the rights are now; nil: this node cannot decide who may do what.
func (d *directory) identity() *nobody {
	for {
		before := d.nobody.Load()
		if before != nil && before.Still() {
			return before
		}
		who, err := d.access.Authorize(nil, "", nil)
		if err != nil {
			return nil
		}
		now := &nobody{who, 1}
		if before != nil {
			if now.rights = before.rights; !slices.Equal(who.Grants, before.Grants) {
				now.rights++
			}
		}
		if d.nobody.CompareAndSwap(before, now) {
			return now
		}
	}
}

// Rights implements dns.Registry.
func (d *directory) Rights() uint64 {
	if who := d.identity(); who != nil {
		return who.rights
	}
	return 0
}

func (d *directory) may(key domain.ServiceKey) bool {
	who := d.identity()
	return who != nil && who.May(domain.ReadCatalog, domain.Key{Namespace: key.Namespace, Service: key.Service}) == nil
}

// Find implements dns.Registry.
func (d *directory) Find(namespace, name string) (dns.Group, bool) {
	group := d.Directory.Find(namespace, name)
	if group != nil {
		group = group.Only(d.may)
	}
	return group, group != nil
}

// Nodes implements dns.Registry. Whoever may read a service may know whether its nodes are well.
func (d *directory) Nodes(namespace string) (dns.Group, bool) {
	group := d.Directory.Find(namespace, wire.NodeService)
	return group, group != nil
}

// HasNamespace implements dns.Registry.
func (d *directory) HasNamespace(namespace string) bool {
	return d.Directory.HasNamespace(namespace) && d.may(domain.ServiceKey{Namespace: namespace})
}

// All implements dns.Registry.
func (d *directory) All(yield func(wire.Instance) bool) {
	for i := range d.Directory.All {
		if d.may(domain.ServiceKey{Namespace: i.Namespace, Service: i.Service}) && !yield(i) {
			return
		}
	}
}

// Ready implements dns.Registry.
func (d *directory) Ready() error { return d.ready() }
