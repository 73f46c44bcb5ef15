package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/consul"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/domain"
)

// consulFace is how the registry speaks Consul's HTTP API.
type consulFace struct {
	listen          string // "": not at all
	deregisterAfter time.Duration
}

func (s *consulFace) flags(f *pflag.FlagSet) {
	f.StringVar(&s.listen, "consul-listen", "", "address and port to speak Consul's HTTP API on, such as 127.0.0.1:8500; not at all when left out")
	f.DurationVar(&s.deregisterAfter, "consul-deregister-after", 0, "remove instances that Consul's clients registered without saying when, after a check was critical for so long; 0s: never")
}

func (s *settings) checkConsul() error {
	if d := s.consul.deregisterAfter; d != 0 && d < time.Minute {
		return usageError{fmt.Errorf("consul-deregister-after must be 0s or at least 1m, not %s", d)}
	}
	if s.consul.listen == "" {
		return nil
	}
	if !s.controlled() && !s.insecure && !web.LoopbackListen(s.consul.listen) {
		return usageError{fmt.Errorf("others can reach %s, and access is off: give --access on and make tokens with rollcall token, or --insecure to let everybody do everything", s.consul.listen)}
	}
	return nil
}

// consulLane is the lane of Consul's API; nil: the registry does not speak it.
func (n *node) consulLane() *lane.Lane {
	if n.consulAPI == nil {
		return nil
	}
	return n.consulAPI.Lane()
}

// openConsul opens the listener and the server of Consul's API.
func (n *node) openConsul(context.Context) error {
	if n.settings.consul.listen == "" {
		return nil
	}
	listener, err := net.Listen("tcp", n.settings.consul.listen)
	if err != nil {
		return fmt.Errorf("consul-listen: %w", err)
	}
	n.onClose(func() error { // it is closed already if the server ran
		listener.Close()
		return nil
	})
	name, err := os.Hostname()
	if err != nil {
		name = "rollcall"
	}
	address, _, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	if ip := net.ParseIP(address); ip.IsUnspecified() {
		address = "127.0.0.1"
	}
	n.consul = listener
	n.consulAPI = consul.New(consul.Config{
		Commands: n.commands, Queries: n.queries, Access: n.access, Proxies: n.proxies, Limits: n.bounds, Hosts: web.NewHosts(n.settings.consul.listen, n.settings.allowHosts),
		Datacenter: n.settings.dns.datacenter, NodeName: name, NodeID: n.store.id.String(), Address: address, Version: versionName(),
		DeregisterAfter: n.settings.consul.deregisterAfter, Ready: n.ready, Now: time.Now, Logger: n.logger,
		Shed: func() { n.listening.Refused(domain.DeafOverload) },
	})
	n.logger.Info("consul's API is spoken", "address", listener.Addr().String())
	return nil
}
