package main

import (
	"encoding/csv"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/domain"
)

// instanceFlags are the flags that describe an instance that a command keeps registered.
type instanceFlags struct {
	given domain.Details
	ports map[string]int
	ttl   leaseTime
}

// flags adds the flags.
func (s *instanceFlags) flags(f *pflag.FlagSet) {
	d := &s.given
	f.StringVar(&d.Address, "address", "", "IP address or host name; left out, an address of this machine")
	f.StringToIntVar(&s.ports, "port", nil, "named port, e.g. http=8080; may be given again")
	f.StringSliceVar(&d.Tags, "tag", nil, "tag; may be given again")
	f.StringToStringVar(&d.Metadata, "meta", nil, "metadata pair, e.g. team=shop; may be given again")
	eachOnce(f, "port", "meta")
	f.StringVar(&d.Zone, "zone", "", "zone")
	versionVar(f, &d.Version, "version of the service")
	f.Uint16Var(&d.Weight, "weight", domain.DefaultWeight, "share of traffic, relative to the others, at least 1")
	s.ttl = leaseTime(domain.DefaultTTL)
	f.Var(&s.ttl, "ttl", "how long the lease holds without a heartbeat")
}

// once is the value of a flag that takes pairs. It refuses a name that was given before, of which one value would win.
type once struct {
	pflag.Value
	seen map[string]bool
}

// eachOnce has flags that take pairs refuse a name that is given twice.
func eachOnce(f *pflag.FlagSet, flags ...string) {
	for _, name := range flags {
		flag := f.Lookup(name)
		flag.Value = once{flag.Value, map[string]bool{}}
	}
}

// Set implements pflag.Value.
func (o once) Set(text string) error {
	pairs, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		pairs = []string{text} // the flag itself says what is wrong
	}
	for _, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); o.seen[name] {
			return fmt.Errorf("%s is given twice", name)
		}
		o.seen[name] = true
	}
	return o.Value.Set(text)
}

// versionVar adds the flag of an instance's version, and its earlier name.
func versionVar(f *pflag.FlagSet, version *string, usage string) {
	f.StringVar(version, "version", "", usage)
	f.StringVar(version, "service-version", "", usage)
	_ = f.MarkDeprecated("service-version", "it is called --version now") // fails for an unknown flag only
}

// details are those that the flags name.
func (s *instanceFlags) details() (domain.Details, error) {
	d := s.given
	d.TTL = domain.Duration(s.ttl)
	if d.TTL == domain.NoTTL || time.Duration(d.TTL) < domain.MinTTL || time.Duration(d.TTL) > domain.MaxTTL {
		return d, fmt.Errorf("--ttl must be from %s to %s: the command keeps the instance's lease, so it needs one", domain.Duration(domain.MinTTL), "24h")
	}
	if d.Weight == 0 {
		return d, fmt.Errorf("--weight must be at least 1: an instance that is to get no traffic drains")
	}
	d.Ports = map[string]uint16{}
	for name, port := range s.ports {
		if port < 1 || port > 65535 {
			return d, fmt.Errorf("port %s must be 1-65535, not %d", name, port)
		}
		d.Ports[name] = uint16(port)
	}
	if d.Address == "" {
		d.Address = ownAddress()
	}
	return d, nil
}

// ownAddress is an address of this machine at which others may reach it: the first one that is no loopback and no
// link-local address, or else the loopback address.
func ownAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
