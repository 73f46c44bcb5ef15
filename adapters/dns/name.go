package dns

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
)

// asked is what a name in a zone may mean. A name can have several meanings, because services and namespaces may be called
// like the words of the scheme; the first meaning that exists counts.
type asked struct {
	what      what
	namespace string
	labels    []string   // before the word; for a node with the service's labels
	port      string     // the name of the port that a service's SRV records have; "": its default port
	address   netip.Addr // of addrName
}

type what int

const (
	nothing     what = iota
	apex             // the zone itself
	inner            // a name that only has names below it
	nameServer       // ns.<zone>
	serviceName      // <service>.service, also behind a tag or a port
	nodeName         // <instance>.<service>.node: one instance
	addrName         // <address in hex>.addr
)

// parse gives the meanings of a name in lower case, in the order in which they are tried. before is the name without its
// zone. The type that is asked for is no part of it: a resolver that got NXDOMAIN for one type denies all types of the name.
func (s *Server) parse(before string) []asked {
	if before == "" {
		return []asked{{what: apex}}
	}
	labels := strings.Split(before, ".")
	if slices.Contains(labels, "") || strings.Contains(before, `\`) {
		return nil // no name of ours has such characters
	}
	var meanings []asked
	if len(labels) == 1 && labels[0] == "ns" {
		meanings = append(meanings, asked{what: nameServer})
	}
	for i, word := range slices.Backward(labels) {
		if word != "service" && word != "node" && word != "addr" {
			continue
		}
		namespace, ok := s.namespaceOf(labels[i+1:])
		if !ok {
			continue
		}
		if i == 0 {
			meanings = append(meanings, asked{what: inner, namespace: namespace})
			continue
		}
		meaning := asked{namespace: namespace, labels: labels[:i]}
		switch word {
		case "service":
			meaning.service()
			if i == 1 && labels[0] == tcp { // _<service>._tcp.service is below it
				meaning.what = inner
			}
		case "node":
			meaning.what = nodeName
		case "addr":
			if meaning.what = inner; i == 1 {
				meaning.what, meaning.address = addrName, addressOfHex(labels[0])
			}
			if meaning.what != addrName || !meaning.address.IsValid() {
				continue
			}
		}
		meanings = append(meanings, meaning)
	}
	if len(labels) >= 2 && labels[0][0] == '_' && labels[1][0] == '_' { // RFC 2782 without the word service
		if namespace, ok := s.namespaceOf(labels[2:]); ok {
			meaning := asked{namespace: namespace, labels: labels[:2]}
			meaning.service()
			meanings = append(meanings, meaning)
		}
	}
	if labels[0] == tcp { // _<service>._tcp is below it
		if namespace, ok := s.namespaceOf(labels[1:]); ok {
			meanings = append(meanings, asked{what: inner, namespace: namespace})
		}
	}
	if namespace, ok := s.namespaceOf(labels); ok {
		meanings = append(meanings, asked{what: inner, namespace: namespace})
	}
	return meanings
}

// tcp is the only protocol of ports.
const tcp = "_tcp"

// service reads the labels before the word service: [<tag>.]<service>, _<service>._<tag or tcp> as Consul has it, or
// _<port>._tcp.<service>. Behind two labels with an underscore of which the second is not _tcp, a service has them for its
// tag, as Consul has it: ports have no other protocol.
func (a *asked) service() {
	a.what = serviceName
	l := a.labels
	if len(l) < 2 || l[0][0] != '_' || l[1][0] != '_' {
		return
	}
	first, second := l[0][1:], l[1][1:]
	switch {
	case first == "" || second == "": // names nothing: the labels are as they stand
	case len(l) > 2 && l[1] == tcp:
		a.port, a.labels = first, l[2:]
	case len(l) > 2:
	case l[1] == tcp:
		a.labels = []string{first}
	default:
		a.labels = []string{second, first} // a tag
	}
}

// namespaceOf reads the labels between the word and the zone: nothing, <ns>, <dc>, <dc>.dc, <ns>.<dc>, <ns>.ns, and Consul's
// <ns>.ns.default.ap.<dc>.dc.
func (s *Server) namespaceOf(l []string) (namespace string, ok bool) {
	namespace = domain.DefaultNamespace
	local := strings.ToLower(s.options.Datacenter)
	datacenter := func(l []string) bool {
		return len(l) == 0 || l[0] == local && (len(l) == 1 || len(l) == 2 && l[1] == "dc")
	}
	switch {
	case datacenter(l):
		return namespace, true
	case len(l) >= 2 && l[1] == "ns":
		namespace, l = l[0], l[2:]
		if len(l) >= 2 && l[1] == "ap" {
			if l[0] != "default" {
				return "", false
			}
			l = l[2:]
		}
	default:
		namespace, l = l[0], l[1:]
	}
	return namespace, datacenter(l)
}

// addressOfHex is the address of 8 or 32 hexadecimal digits; the zero address for another label.
func addressOfHex(label string) netip.Addr {
	b, err := hex.DecodeString(label)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
