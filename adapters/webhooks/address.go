package webhooks

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
)

// CheckURL refuses a target whose address, as it stands, is not allowed. A name is looked up when it
// is used.
func CheckURL(raw string, allow bool) error {
	u, err := url.Parse(raw)
	if err != nil || allow {
		return nil // Validate has a word on the form
	}
	if forbidden(u.Hostname()) {
		return domain.InvalidField{Field: "url", Rule: "must not be on a loopback, link-local, private or reserved address (allowed by --webhook-allow-private)"}
	}
	return nil
}

// forbidden says whether a host is an address that webhooks must not reach unless they are allowed to.
// A name is not; what it resolves to is looked at when it is dialed. It never looks a name up itself.
func forbidden(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return !public(ip)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || numeric(host)
}

// numeric says whether some resolvers take the host for an IPv4 address in an old spelling: 127.1, 0x7f000001,
// 2130706433, 0177.0.0.1. No name of the Internet ends in a number.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// What IANA's special-purpose address registries take out of the public Internet, with multicast and what is reserved.
// Blocks inside another one are left out.
// https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
var (
	reserved4 = prefixes(
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // carrier-grade NAT
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local, and the metadata of clouds
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.31.196.0/24", // AS112: answers of whoever is nearest
		"192.52.193.0/24", // relays of multicast
		"192.88.99.0/24",  // relays of 6to4
		"192.168.0.0/16",  // private
		"192.175.48.0/24", // AS112
		"198.18.0.0/15",   // benchmarking
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast
	)
	global6   = netip.MustParsePrefix("2000::/3") // no other block is given out for unicast
	reserved6 = prefixes(
		"2001::/23",         // protocol assignments: Teredo, benchmarking, ORCHID
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4: an IPv4 address inside
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	)
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// public says whether an address is one of the public Internet's. IPv6 addresses that stand for an IPv4 address are
// not, for nobody needs them here, but for NAT64's: a network without IPv4 reaches public IPv4 addresses by them.
func public(ip netip.Addr) bool {
	ip = ip.WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	reserved := reserved4
	if !ip.Is4() {
		if !global6.Contains(ip) {
			return false
		}
		reserved = reserved6
	}
	for _, block := range reserved {
		if block.Contains(ip) {
			return false
		}
	}
	return true
}
