package dns

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// machine is a node as Consul's clients know it: what instances are at.
type machine struct {
	address netip.Addr // not valid: host is set
	host    string
	texts   []string // metadata
	status  domain.Status
	changed time.Time // when the instance that told of it changed last
}

func machineOf(n *wire.Node, i *wire.Instance) *machine {
	m := &machine{status: i.Status, changed: i.ChangedAt}
	if a, err := netip.ParseAddr(strings.Trim(n.Address, "[]")); err == nil {
		m.address = a.WithZone("").Unmap()
	} else {
		m.host = strings.ToLower(strings.TrimSuffix(n.Address, ".")) + "."
	}
	keyed := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(n.Meta)) {
		value := n.Meta[key]
		if !strings.HasPrefix(strings.ToLower(key), "rfc1035-") {
			keyed[key] = value
		} else if len(value) <= maxText { // the value is the text
			m.texts = append(m.texts, value)
		}
	}
	m.texts = append(m.texts, textsOf(keyed)...)
	return m
}

// keptNodes are the nodes of a namespace that have an instance which stands for them, by name in lower case. A nil *keptNodes has
// none.
type keptNodes struct{ byName map[string]*machine }

// keptNodes are the same until one of them changes.
func (s *Server) keptNodes(namespace string) *keptNodes {
	group, ok := s.registry.Nodes(namespace)
	if !ok {
		return nil
	}
	return group.Value("dns nodes", func() any {
		kept := &keptNodes{map[string]*machine{}}
		for _, i := range group.Instances() {
			if n := wire.NodeOf(&i); n.Is {
				kept.byName[strings.ToLower(n.Name)] = machineOf(&n, &i)
			}
		}
		return kept
	}).(*keptNodes)
}

// worst is the status of an instance at a node together with the checks of the node.
func (k *keptNodes) worst(node string, status domain.Status) domain.Status {
	if k == nil {
		return status
	}
	n := k.byName[strings.ToLower(node)]
	if n != nil && (n.status == domain.Critical || n.status == domain.Warning && status == domain.Passing) {
		return n.status
	}
	return status
}

// findNode is the node of a name in lower case; nil: there is none.
func (s *Server) findNode(namespace, name string) *machine {
	if _, ok := s.registry.Find(namespace, wire.NodeService); ok { // nodes by themselves are in answers
		if kept := s.keptNodes(namespace); kept != nil && kept.byName[name] != nil {
			return kept.byName[name]
		}
	}
	return s.list.current(s).nodes[namespacedName{namespace, name}]
}

// one answers with the address and the texts of an instance or a node.
func (a *answering) one(address netip.Addr, host string, texts []string) {
	if !address.IsValid() {
		if isName(host) && host != "." {
			a.reply.Answer = append(a.reply.Answer, &dns.CNAME{Hdr: a.header(a.q.Name, dns.TypeCNAME), Target: host})
		}
		return
	}
	a.add(a.q.Name, address)
	if a.wants(dns.TypeTXT) {
		for _, text := range texts {
			a.reply.Answer = append(a.reply.Answer, &dns.TXT{Hdr: a.header(a.q.Name, dns.TypeTXT), Txt: []string{escapeText(text)}})
		}
	}
}
