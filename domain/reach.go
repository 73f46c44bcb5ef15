package domain

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Reach says which addresses probes may reach. By default a probe reaches the instance's own address only, because whoever
// may register an instance could otherwise have the registry send requests into any network.
type Reach struct {
	Networks []netip.Prefix // every probe may reach these, but for addresses that are never probed
	// Loopback says that an instance whose own address is a loopback address may be probed there. Such an address is that of
	// the registry's machine, where services may listen that trust everybody on it.
	Loopback bool
}

// never are the addresses that no setting opens. A cloud tells secrets of the machine at its metadata address to whoever
// asks from that machine.
var never = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address, where clouds keep the machine's secrets"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "an address of a cloud's metadata"},      // AWS
	{netip.MustParsePrefix("fd20:ce::/32"), "an address of a cloud's metadata"},       // Google Cloud
	{netip.MustParsePrefix("100.100.100.200/32"), "an address of a cloud's metadata"}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), "an address of a cloud's metadata"},   // Azure
	{netip.MustParsePrefix("192.0.0.192/32"), "an address of a cloud's metadata"},     // Oracle Cloud
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("::/128"), "an unspecified address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a broadcast or reserved address"},
}

// Refusal is why a probe must not reach an address, as the end of a sentence that begins with the address; "": the probe
// may reach it. own are the addresses of the probed instance.
func (r Reach) Refusal(ip netip.Addr, own ...netip.Addr) string {
	if ip.Zone() != "" {
		return "has a zone"
	}
	ip = ip.Unmap()
	for _, form := range []netip.Addr{ip, embedded(ip)} {
		for _, n := range never {
			if form.IsValid() && n.prefix.Contains(form) {
				return "is " + n.kind + ", which is never probed"
			}
		}
	}
	if slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return contains(p, ip) }) {
		return ""
	}
	if !slices.ContainsFunc(own, func(o netip.Addr) bool { return o.Unmap() == ip }) {
		return "is neither the instance's own address nor in a network that probes may reach"
	}
	if ip.IsLoopback() && !r.Loopback {
		return "is a loopback address, and others can reach this registry"
	}
	return ""
}

// contains is Prefix.Contains for a prefix that may have been written as that of an IPv4 address in IPv6 form.
func contains(p netip.Prefix, ip netip.Addr) bool {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Contains(ip)
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	compatible = netip.MustParsePrefix("::/96")
)

// embedded is the IPv4 address for which an IPv6 address stands, so that no other spelling gets around a rule. It is not
// valid if there is none.
func embedded(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case ip.Is4():
	case nat64.Contains(ip), nat64Local.Contains(ip), compatible.Contains(ip) && !ip.IsLoopback():
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}

// Target refuses a check's target that is never allowed for an instance with that address. A host name is resolved, and
// held to the same rule, when the probe dials.
func (r Reach) Target(field, host, address string) error {
	ip, isIP := parseIP(host)
	if !isIP {
		if validateHostName(host) != nil {
			return InvalidField{Field: field, Rule: "must name an IP address or a host"}
		}
		return nil
	}
	own, ownIP := parseIP(address)
	if !ownIP { // the instance is known by a name, whose addresses are known at the probe only
		own = ip
	}
	if why := r.Refusal(ip, own); why != "" {
		return InvalidField{Field: field, Rule: "must be a target that may be probed: " + ip.String() + " " + why}
	}
	return nil
}

// Targets refuses the first check whose target is never allowed for an instance with that address. field comes before the
// names of the check's fields, with the check's number in place of %d.
func (r Reach) Targets(field string, checks []Check, address string) error {
	for i, c := range checks {
		prefix := strings.Replace(field, "%d", strconv.Itoa(i), 1)
		var err error
		switch {
		case c.Kind == CheckHTTP:
			if u, bad := url.Parse(c.URL); bad == nil {
				err = r.Target(prefix+"url", u.Hostname(), address)
			}
		case c.Kind.Probed() && c.Target != "":
			if host, _, bad := net.SplitHostPort(c.Target); bad == nil {
				err = r.Target(prefix+"target", host, address)
			}
		case c.Kind.Probed():
			err = r.Target(prefix+"port", address, address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
