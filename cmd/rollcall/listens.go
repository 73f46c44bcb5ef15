package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// checkListens refuses what nothing can listen on, before anything is opened, and profiles that other machines could read.
func (s *settings) checkListens() error {
	for _, l := range []struct{ flag, address string }{
		{"listen", s.listen}, {"dns-listen", s.dns.listen}, {"consul-listen", s.consul.listen},
		{"cluster-listen", s.cluster.listen}, {"debug-listen", s.debug},
	} {
		if err := checkListen(l.flag, l.address); l.address != "" && err != nil {
			return err
		}
	}
	if s.debug != "" && !s.insecure && !web.LoopbackListen(s.debug) {
		return usageError{fmt.Errorf("others can reach %s, and profiles know no access control: debug-listen must be a loopback address, or come with --insecure", s.debug)}
	}
	for _, host := range s.allowHosts {
		if (domain.Details{Address: host, TTL: domain.Duration(domain.MinTTL)}).Validate() != nil {
			return usageError{fmt.Errorf("allow-host must be a host name or an IP address, without a port, not %q", host)}
		}
	}
	return nil
}

func checkListen(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return usageError{fmt.Errorf("%s must be an address and a port such as 127.0.0.1:7700, not %q", flag, address)}
	}
	return nil
}

// needValues refuses settings that are empty and have a default: a variable that is not set in a script or in a file must not
// turn access off, or listen for everybody.
func needValues(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.DefValue != "" && strings.TrimSpace(f.Value.String()) == "" {
			errs = append(errs, fmt.Errorf("%s must not be empty: its default is %s", f.Name, f.DefValue))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}
