package consul

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// shown is an instance as Consul's clients see one.
type shown struct {
	key     domain.Key
	entry   serviceEntry
	ofNode  int  // how many of the entry's checks are the node's: they are the first ones
	panics  bool // its service does
	passing bool // every check passes, or its service panics
}

// own are the checks of the instance itself.
func (s *shown) own() []healthCheck { return s.entry.Checks[s.ofNode:] }

// at is the instance with what is known of its node.
func (s shown) at(n *nodeRecord) shown {
	s.entry.Node = n.entry
	s.entry.Checks = append(slices.Clip(n.checks), s.own()...)
	s.ofNode = len(n.checks)
	s.passing = s.panics || allPass(s.entry.Checks)
	return s
}

func allPass(checks []healthCheck) bool {
	return !slices.ContainsFunc(checks, func(c healthCheck) bool { return c.Status != passing })
}

// showGroup is the instances of a group without what is known of their nodes, made once for all requests.
func (f *face) showGroup(group *queries.Group) []shown {
	return group.Value("consul", func() any {
		var all []shown
		for i, place := range group.Placed {
			o, born := originOf(i.Origin)
			if !isNode(&i, o) {
				all = append(all, f.show(&i, o, born, place))
			}
		}
		return all
	}).([]shown)
}

// shownNow is an instance as it is now, with what is known of its node; false: there is none.
func (f *face) shownNow(key domain.Key) (s shown, live bool) {
	entry := f.Queries.Live.Catalog().Find(key)
	if entry == nil {
		return s, false
	}
	i := queries.Show(entry, nil)
	o, born := originOf(i.Origin)
	if isNode(&i, o) {
		return s, false
	}
	s = f.show(&i, o, born, queries.PlaceOf(entry))
	if n := f.nodes(key.Namespace).byName[s.entry.Node.Node]; n != nil {
		s = s.at(n)
	}
	return s, true
}

// show is an instance as Consul's clients see one. Instances that came through another face have a node that is named by
// their address.
func (f *face) show(i *wire.Instance, o origin, born bool, place queries.Place) shown {
	n := nodeAt(i.Address)
	if born {
		n = node{o.Node, o.NodeAddress}
	}
	s := shown{key: i.Key(), entry: serviceEntry{
		Node: f.nodeEntry(n, o, place),
		Service: agentService{
			Kind: o.Kind, ID: cmp.Or(o.ID, unescape(i.ID)), Service: i.Service, Tags: orEmpty(i.Tags), Meta: orEmptyMap(i.Metadata), Port: int(i.DefaultPort()), Ports: o.Ports,
			Address: i.Address, SocketPath: o.SocketPath, TaggedAddresses: o.TaggedAddresses, Weights: weightsOf(i, o, born), EnableTagOverride: o.EnableTagOverride,
			Proxy: readProxy(o.Proxy), Connect: readConnect(o.Connect), Locality: o.Locality, CreateIndex: indexOf(place.Began), ModifyIndex: indexOf(place.Changed), Namespace: i.Namespace,
		},
	}}
	service := &s.entry.Service
	if o.Address != nil {
		service.Address = *o.Address
	}
	if o.Tags != nil {
		service.Tags = o.Tags
	}
	if o.Port != nil {
		service.Port = *o.Port
	}
	if service.TaggedAddresses == nil {
		service.TaggedAddresses = taggedAddresses(nil, service.Address, service.Port)
	}
	s.entry.Checks = f.checks(i, o, born, s.entry, place)
	s.panics = i.Panic
	s.passing = i.Panic || allPass(s.entry.Checks)
	return s
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orEmptyMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// nodeEntry is a node as Consul's clients see one.
func (f *face) nodeEntry(n node, o origin, place queries.Place) nodeEntry {
	e := nodeEntry{
		ID: o.NodeID, Node: n.name, Address: n.address, Datacenter: f.Datacenter, Meta: o.NodeMeta, CreateIndex: indexOf(place.Began), ModifyIndex: indexOf(place.Changed),
		TaggedAddresses: map[string]string{"lan": n.address, "wan": n.address},
	}
	if e.ID == "" {
		e.ID = idOf(n.name)
	}
	if o.NodeTagged != nil {
		e.TaggedAddresses = o.NodeTagged
	}
	e.Meta = orEmptyMap(e.Meta)
	return e
}

// weightShare is the weight of the domain for each part of Consul's: 100 is what an instance has that names none, and
// Consul's is 1.
const weightShare = domain.DefaultWeight

func weightsOf(i *wire.Instance, o origin, born bool) weights {
	if o.Weights != nil {
		return *o.Weights
	}
	if born {
		return weights{1, 1}
	}
	w := max((int(i.Weight)+weightShare/2)/weightShare, 1)
	return weights{w, w}
}

// taggedAddresses are a registration's, with those that Consul adds for an address that is an IP.
func taggedAddresses(given map[string]serviceAddress, address string, port int) map[string]serviceAddress {
	all := make(map[string]serviceAddress, len(given)+2)
	if a, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		family := "ipv4"
		if a.Unmap().Is6() {
			family = "ipv6"
		}
		all["lan_"+family], all["wan_"+family] = serviceAddress{address, port}, serviceAddress{address, port}
	}
	maps.Copy(all, given)
	return all
}

// contentHash tells one form of a service from another.
func contentHash(s agentService) string {
	s.CreateIndex, s.ModifyIndex = 0, 0
	b, _ := json.Marshal(s)
	return fmt.Sprintf("%x", sha256.Sum256(b))[:16]
}

// withNamespace shows the namespace only to a client that named it: a server without namespaces sends none.
func (q *request) withNamespace(e serviceEntry) serviceEntry {
	if q.named {
		return e
	}
	e.Service.Namespace = ""
	e.Checks = q.checksWithNamespace(e.Checks)
	return e
}

func (q *request) checksWithNamespace(all []healthCheck) []healthCheck {
	if q.named {
		return all
	}
	checks := make([]healthCheck, len(all))
	for i, c := range all {
		c.Namespace = ""
		checks[i] = c
	}
	return checks
}
