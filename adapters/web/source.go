package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
)

// Proxies are the proxies whose word on the source of a request is taken. A nil *Proxies takes nobody's word.
//
// The source of a request is where it came from before the trusted proxies: an address, a name that a proxy made up to
// hide an address (RFC 7239, section 6.3), or unknown. Everything that goes by the source (events, the access log,
// limits, networks of tokens) goes by this one.
type Proxies struct {
	trusted []netip.Prefix
	header  string // the only header that is read, in canonical form; "": both
}

// UnknownSource is the source of a request whose trusted proxies do not say where it came from, or contradict themselves.
const UnknownSource = "unknown"

const (
	forwarded    = "Forwarded"
	forwardedFor = "X-Forwarded-For"
)

// NewProxies trusts the networks (or single addresses). header is the header that the proxies write: forwarded,
// x-forwarded-for, or any. The result is nil if there are no networks.
func NewProxies(networks []string, header string) (*Proxies, error) {
	p := &Proxies{}
	switch header {
	case "", "any":
	case "forwarded", "x-forwarded-for":
		p.header = http.CanonicalHeaderKey(header)
	default:
		return nil, domain.InvalidField{Field: "trusted-proxy-header", Rule: "must be any, forwarded or x-forwarded-for"}
	}
	for _, n := range networks {
		prefix, err := netip.ParsePrefix(n)
		if err != nil {
			address, err := netip.ParseAddr(n)
			if err != nil || address.Zone() != "" {
				return nil, domain.InvalidField{Field: "trusted-proxy", Rule: "must be a network such as 10.0.0.0/8, or an address"}
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		p.trusted = append(p.trusted, prefix.Masked())
	}
	if len(networks) == 0 {
		return nil, nil
	}
	return p, nil
}

func (p *Proxies) trusts(address netip.Addr) bool {
	if p == nil {
		return false
	}
	for _, n := range p.trusted {
		if n.Contains(address) {
			return true
		}
	}
	return false
}

// Resolve is the middleware that makes a request's RemoteAddr its source. It comes before everything that asks for the
// source.
func (p *Proxies) Resolve(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if r := c.Request(); p != nil && !IsLocal(r.Context()) {
			r.RemoteAddr = p.source(r)
		}
		return next(c)
	}
}

// source is the source of a request from the address RemoteAddr. The headers of a client that is no trusted proxy are
// not read.
func (p *Proxies) source(r *http.Request) string {
	if !p.trusts(AddressOf(r.RemoteAddr)) {
		return r.RemoteAddr
	}
	var sources []string
	for header, read := range map[string]func(line string) ([]string, bool){forwarded: forwardedNodes, forwardedFor: forwardedForNodes} {
		lines := r.Header[header]
		if len(lines) > 0 && (p.header == "" || p.header == header) {
			sources = append(sources, p.walk(lines, read))
		}
	}
	switch {
	case len(sources) == 0:
		return r.RemoteAddr // the proxy asks for itself
	case len(sources) == 2 && sources[0] != sources[1]:
		// The proxy wrote one header, and passed on the other from the client: nobody knows which is which.
		return UnknownSource
	}
	return sources[0]
}

// walk goes from the newest proxy to the oldest, and ends at the first node that is not trusted: what stands before that
// node may be made up. read gives the nodes of a header's line.
func (p *Proxies) walk(lines []string, read func(line string) (nodes []string, ok bool)) string {
	source := UnknownSource
	for i := len(lines) - 1; i >= 0; i-- {
		nodes, ok := read(lines[i])
		if !ok {
			return UnknownSource
		}
		for j := len(nodes) - 1; j >= 0; j-- {
			address, isAddress := nodeAddress(nodes[j])
			switch {
			case !isAddress:
				return nodeName(nodes[j])
			case !p.trusts(address):
				return address.String()
			}
			source = address.String()
		}
	}
	return source
}

// forwardedForNodes splits a line of X-Forwarded-For.
func forwardedForNodes(line string) (nodes []string, ok bool) {
	for node := range strings.SplitSeq(line, ",") {
		nodes = append(nodes, strings.TrimSpace(node))
	}
	return nodes, true
}

// nodeAddress is the address of a node: with or without a port, an IPv6 address with or without brackets.
func nodeAddress(node string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(node); err == nil {
		node = host
	}
	if inner, ok := strings.CutPrefix(node, "["); ok {
		node, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return netip.Addr{}, false
		}
	}
	address, err := netip.ParseAddr(node)
	return address.Unmap().WithZone(""), err == nil
}

const maxNodeName = 128 // bytes

// nodeName is the name that a proxy made up for a node, which begins with a "_", or unknown.
func nodeName(node string) string {
	name, _, _ := strings.Cut(node, ":")
	if len(name) < 2 || len(name) > maxNodeName || name[0] != '_' {
		return UnknownSource
	}
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return UnknownSource
		}
	}
	return name
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// SourceOf is a RemoteAddr without its port.
func SourceOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// AddressOf is the address of a RemoteAddr. The zero address, which is in no network, stands for any other source.
func AddressOf(remote string) netip.Addr {
	address, err := netip.ParseAddr(SourceOf(remote))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// proxied says whether a proxy passed the request on, as far as its headers tell.
func proxied(r *http.Request) bool {
	return len(r.Header[forwarded]) > 0 || len(r.Header[forwardedFor]) > 0
}
