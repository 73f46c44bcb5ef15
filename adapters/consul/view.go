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
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// shown is an instance as Consul's clients see one.
type shown struct {
	key     domain.Key
	entry   serviceEntry
	passing bool // every check passes
}

// showGroup is the instances of a group, made once for all requests.
func (f *face) showGroup(group *queries.Group) []shown {
	return group.Value("consul", func() any {
		var all []shown
		for instance, position := range group.Placed {
			all = append(all, f.show(&instance, position))
		}
		return all
	}).([]shown)
}

// show is an instance as Consul's clients see one. Instances that came through another face have a node that is named by
// their address.
func (f *face) show(i *wire.Instance, position eventstore.Position) shown {
	o, born := originOf(i.Origin)
	n := nodeAt(i.Address)
	if born {
		n = node{o.Node, o.NodeAddress}
	}
	index := indexOf(position)
	s := shown{key: i.Key(), entry: serviceEntry{
		Node: f.nodeEntry(n, o, index),
		Service: agentService{
			Kind: o.Kind, ID: cmp.Or(o.ID, unescape(i.ID)), Service: i.Service, Tags: orEmpty(i.Tags), Meta: orEmptyMap(i.Metadata), Port: int(i.DefaultPort()), Ports: o.Ports,
			Address: i.Address, SocketPath: o.SocketPath, TaggedAddresses: o.TaggedAddresses, Weights: weightsOf(i, o, born), EnableTagOverride: o.EnableTagOverride,
			Proxy: o.Proxy, Connect: o.Connect, Locality: o.Locality, CreateIndex: index, ModifyIndex: index, Namespace: i.Namespace,
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
	s.entry.Checks = f.checks(i, o, born, s.entry)
	s.passing = !slices.ContainsFunc(s.entry.Checks, func(c healthCheck) bool { return c.Status != passing })
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

// nodeEntry is a node. Its id is made from its name, so that equal ids of services at two nodes stay apart for clients that
// join them with the id of the node.
func (f *face) nodeEntry(n node, o origin, index uint64) nodeEntry {
	e := nodeEntry{
		ID: o.NodeID, Node: n.name, Address: n.address, Datacenter: f.Datacenter, Meta: o.NodeMeta, CreateIndex: index, ModifyIndex: index,
		TaggedAddresses: map[string]string{"lan": n.address, "wan": n.address},
	}
	if e.ID == "" {
		e.ID = uuid.NewSHA1(uuid.NameSpaceDNS, []byte(n.name)).String()
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

// Consul's statuses.
const (
	passing     = "passing"
	warning     = "warning"
	critical    = "critical"
	maintenance = "maintenance"
)

func statusOf(s domain.Status) string {
	switch s {
	case domain.Passing:
		return passing
	case domain.Warning:
		return warning
	}
	return critical
}

// serviceMaintenance is the beginning of the id of the check that says that a service is in maintenance, nodeMaintenance the id
// of the check that says it of a node.
const (
	serviceMaintenance = "_service_maintenance:"
	nodeMaintenance    = "_node_maintenance"
)

// checks are those of an instance, and those that stand for what Consul has no other word for: maintenance and draining, and
// the word and lease of an instance that came through another face.
func (f *face) checks(i *wire.Instance, o origin, born bool, e serviceEntry) []healthCheck {
	all := []healthCheck{}
	add := func(c healthCheck) {
		c.Node, c.ServiceID, c.ServiceName, c.ServiceTags = e.Node.Node, e.Service.ID, e.Service.Service, e.Service.Tags
		c.CreateIndex, c.ModifyIndex, c.Namespace = e.Service.CreateIndex, e.Service.ModifyIndex, i.Namespace
		if c.Definition == nil {
			c.Definition = json.RawMessage("{}")
		}
		all = append(all, c)
	}
	if i.Traffic != domain.Serving {
		notes := "draining"
		if i.Traffic == domain.Maintenance {
			notes = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
			if i.Maintenance != nil && i.Maintenance.Reason != "" {
				notes = i.Maintenance.Reason
			}
		}
		add(healthCheck{CheckID: serviceMaintenance + e.Service.ID, Name: "Service Maintenance Mode", Status: critical, Notes: notes, Type: maintenance})
	}
	for _, c := range i.Checks {
		add(f.check(c, o.Checks[c.ID]))
	}
	if o.Imported != nil { // whoever judges the checks has said the status, too
		for _, c := range o.Imported.Checks {
			add(healthCheck{CheckID: c.ID, Name: c.Name, Status: c.Status, Type: c.Type})
		}
		if len(o.Imported.Checks) > 0 {
			return all
		}
	}
	said := cmp.Or(i.Reported, i.Status)
	if len(i.Checks) > 0 && i.Reported == "" {
		said = domain.Passing // the status is that of a check
	}
	lapsed := i.LapsedAt != nil
	if !born && len(i.Checks) == 0 || said != domain.Passing || lapsed {
		c := healthCheck{CheckID: "service:" + e.Service.ID, Name: "Service '" + i.Service + "' check", Status: statusOf(said), Type: "ttl"}
		switch {
		case lapsed:
			c.Status, c.Output = critical, "TTL expired"
		case said == domain.Starting:
			c.Output = "starting"
		}
		add(c)
	}
	return all
}

func (f *face) check(c wire.Check, o checkOrigin) healthCheck {
	h := healthCheck{
		CheckID: unescape(c.ID), Name: cmp.Or(c.Name, unescape(c.ID)), Status: statusOf(c.Status), Notes: c.Notes, Output: c.Output, Type: cmp.Or(o.Type, string(c.Kind)), Definition: o.Definition,
	}
	if c.Kind.Probed() {
		h.Interval, h.Timeout = time.Duration(c.Interval).String(), time.Duration(c.Timeout).String()
	}
	return h
}

// aggregate is the status of checks together.
func aggregate(checks []healthCheck) string {
	worst := passing
	for _, c := range checks {
		switch {
		case c.Type == maintenance || strings.HasPrefix(c.CheckID, serviceMaintenance):
			return maintenance
		case c.Status == critical:
			worst = critical
		case c.Status == warning && worst == passing:
			worst = warning
		}
	}
	return worst
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
	checks := make([]healthCheck, len(e.Checks))
	for i, c := range e.Checks {
		c.Namespace = ""
		checks[i] = c
	}
	e.Checks = checks
	return e
}
