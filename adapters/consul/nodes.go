package consul

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

const uuidLength = len("00000000-0000-0000-0000-000000000000")

func serviceKey(namespace, service string) domain.ServiceKey {
	return domain.ServiceKey{Namespace: namespace, Service: service}
}

// catalogRegistration is the body of /v1/catalog/register: a node, and what is at it.
type catalogRegistration struct {
	tenancy
	ID, Node, Address, Datacenter string

	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	SkipNodeUpdate  bool
	Service         *struct {
		serviceRegistration
		Service string
	}
	Check  *catalogCheck
	Checks []*catalogCheck
}

type catalogCheck struct {
	tenancy
	Node, CheckID, Name, Notes, Status, Output, ServiceID, Type string

	Definition json.RawMessage
}

// catalogRegister registers a node, a service at it, or checks of either, all of which the request names. The checks' statuses are
// what is written: nobody looks, and no time runs out.
func (f *face) catalogRegister(q *request) error {
	var body catalogRegistration
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.within(body.tenancies()...); err != nil {
		return err
	}
	seen, repeated := f.repeats(q, &body)
	if !repeated {
		seen = f.look(q.namespace, body.Node, body.ID)
	}
	n := node{seen.name, body.Address}
	if body.SkipNodeUpdate && len(seen.entries) > 0 {
		n.address = seen.entries[0].Address
	}
	if n.name == "" || n.address == "" {
		return failure{http.StatusInternalServerError, "Must provide node and address"}
	}
	if body.ID != "" && (uuid.Validate(body.ID) != nil || len(body.ID) != uuidLength) {
		return failure{http.StatusInternalServerError, "Bad node ID: it must be a UUID"}
	}
	if body.Datacenter != "" && body.Datacenter != f.Datacenter {
		return failure{http.StatusInternalServerError, "No path to datacenter"}
	}
	ofNode, ofServices, err := body.checks()
	if err != nil {
		return err
	}
	from, err := f.renamed(q, n, body.ID, seen)
	if err != nil {
		return err
	}
	body.ID = cmp.Or(body.ID, seen.id())
	service, err := body.service()
	if err != nil {
		return err
	}
	var planned func() (plan, error)
	var p plan
	if service != nil {
		o := body.origin()
		o.Written = ofServices[service.ID]
		delete(ofServices, service.ID)
		planned = func() (p plan, err error) {
			if p, err = f.plan(q, n, *service, false, o); err == nil && from != "" {
				p.ends, err = f.ends(q, from, "consul: the node is renamed to "+n.name)
			}
			return p, err
		}
		if p, err = planned(); err != nil {
			return err
		}
		if err := q.judge(p.command); err != nil {
			return err
		}
	}
	if err := f.judge(q, n, ofServices); err != nil {
		return err
	}
	if err := f.writeNode(q, n, &body, ofNode, seen); err != nil {
		return err
	}
	if service != nil {
		if err := f.register(q, n, service.ID, p, planned); err != nil {
			return err
		}
		f.lastAt(q.namespace, n.name, p.command.Key)
	} else if from != "" {
		if err := f.endRenamed(q, from, n.name); err != nil {
			return err
		}
	}
	if err := f.followAddress(q, n, seen); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(ofServices)) { // of services that are there
		found, live := f.find(q, n, id)
		if !live {
			return missingService(id)
		}
		if err := f.writeChecks(q, found.key, ofServices[id]); err != nil {
			return err
		}
	}
	return q.send(http.StatusOK, []byte("true"))
}

// tenancies are those of the registration and of what it names.
func (b *catalogRegistration) tenancies() []tenancy {
	all := []tenancy{b.tenancy}
	if b.Service != nil {
		all = append(all, b.Service.tenancy)
	}
	for _, c := range append(b.Checks, b.Check) {
		if c != nil {
			all = append(all, c.tenancy)
		}
	}
	return all
}

// origin is what a registration says of its node.
func (b *catalogRegistration) origin() origin {
	return origin{NodeID: b.ID, NodeMeta: b.NodeMeta, NodeTagged: b.TaggedAddresses}
}

// service is the service that a registration names; nil: it names none.
func (b *catalogRegistration) service() (*serviceRegistration, error) {
	if b.Service == nil {
		return nil, nil
	}
	service := b.Service.serviceRegistration
	service.Name = cmp.Or(b.Service.Service, service.Name)
	if service.Name == "" {
		return nil, failure{http.StatusBadRequest, "Missing service name"}
	}
	service.ID = cmp.Or(service.ID, service.Name)
	service.Check, service.Checks = nil, nil
	if w := service.Weights; w != nil && *w == (weights{}) { // consul/api sends zeros for none here
		service.Weights = nil
	}
	return &service, nil
}

// judge refuses checks of services that are there before anything of their registration is written: Consul writes all of it, or nothing.
// They are judged again where they are written.
func (f *face) judge(q *request, n node, ofServices map[string][]writtenCheck) error {
	for _, id := range slices.Sorted(maps.Keys(ofServices)) {
		found, live := f.find(q, n, id)
		if !live {
			return missingService(id)
		}
		entry := f.Queries.Live.Catalog().Find(found.key)
		if entry == nil {
			return missingService(id)
		}
		details := entry.Details()
		if _, born := originOf(details.Origin); !born {
			continue // its status is reported, and no check is written
		}
		command, err := amended(found.key, details, writing(ofServices[id]))
		if err != nil {
			return err
		}
		if err := q.judge(command); err != nil {
			return err
		}
	}
	return nil
}

// judge refuses a registration that the caller may not make, or that breaks a rule.
func (q *request) judge(command domain.RegisterInstance) error {
	if _, err := q.who.Command(command); err != nil {
		return err
	}
	command.Details = command.Details.Normalize()
	return command.Validate()
}

func missingService(id string) error {
	return failure{http.StatusInternalServerError, "Missing service registration: " + id}
}

// checks are those of the node, and those of services by their ids.
func (b *catalogRegistration) checks() (ofNode []writtenCheck, ofServices map[string][]writtenCheck, err error) {
	ofServices = map[string][]writtenCheck{}
	for _, c := range append(b.Checks, b.Check) {
		if c == nil {
			continue
		}
		if c.Node != "" && !strings.EqualFold(c.Node, b.Node) {
			return nil, nil, failure{http.StatusInternalServerError, fmt.Sprintf("check node %q does not match node %q", c.Node, b.Node)}
		}
		without := "node"
		if c.ServiceID != "" {
			without = "service:" + c.ServiceID
		}
		w, err := c.written(without)
		if err != nil {
			return nil, nil, err
		}
		if c.ServiceID == "" {
			ofNode = written(ofNode, w)
		} else {
			ofServices[c.ServiceID] = written(ofServices[c.ServiceID], w)
		}
	}
	return ofNode, ofServices, nil
}

// writeNode keeps what a registration says of a node. A node that is named only for the sake of a service at it is not kept, unless
// it is already, or what is at it says something else of it.
func (f *face) writeNode(q *request, n node, body *catalogRegistration, checks []writtenCheck, seen sight) error {
	key := nodeKey(q.namespace, n.name)
	return f.again(q, func() error {
		if f.Queries.Live.Catalog().Find(key) != nil {
			return f.amendNode(q, n, key, body, checks)
		}
		alone := body.Service == nil && body.Check == nil && len(body.Checks) == 0
		news := f.saysNews(n, body, seen) && q.who.May(domain.WriteInstances, key) == nil
		if !alone && len(checks) == 0 && !news {
			return nil
		}
		o := body.origin()
		for _, c := range checks {
			o.write(c)
		}
		details, err := nodeDetails(n, o)
		if err != nil {
			return err
		}
		_, err = f.do(q, domain.RegisterInstance{Key: key, Details: details, CreateOnly: true})
		return err
	})
}

func (f *face) amendNode(q *request, n node, key domain.Key, body *catalogRegistration, checks []writtenCheck) error {
	if body.SkipNodeUpdate && len(checks) == 0 {
		return nil
	}
	return f.amend(q, key, func(d *domain.Details, o *origin) {
		if !body.SkipNodeUpdate {
			d.Address, o.NodeAddress = n.address, n.address
			o.NodeID, o.NodeMeta, o.NodeTagged = body.ID, body.NodeMeta, body.TaggedAddresses
		}
		for _, c := range checks {
			o.write(c)
		}
	})
}

func (f *face) catalogDeregister(q *request) error {
	var body struct {
		tenancy
		Node, ServiceID, CheckID, Datacenter string
	}
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.within(body.tenancy); err != nil {
		return err
	}
	if body.Node == "" {
		return noNodeName
	}
	if body.Datacenter != "" && body.Datacenter != f.Datacenter {
		return failure{http.StatusInternalServerError, "No path to datacenter"}
	}
	name := f.look(q.namespace, body.Node, "").name
	for _, s := range f.ofNode(q, name) {
		if body.ServiceID != "" && s.entry.Service.ID != body.ServiceID {
			continue
		}
		var err error
		if body.CheckID == "" {
			_, err = f.do(q, domain.DeregisterInstance{Key: s.key, Reason: "consul: deregistered from the catalog"})
		} else if hasID(s.own(), body.CheckID) {
			err = f.removeCheck(q, s.key, body.CheckID)
		}
		if err != nil && !isGone(err) { // another request may remove it, too
			return err
		}
	}
	if err := f.deregisterNode(q, name, body.ServiceID, body.CheckID); err != nil {
		return err
	}
	return q.send(http.StatusOK, []byte("true"))
}

// deregisterNode removes what is kept of a node, or a check of it.
func (f *face) deregisterNode(q *request, name, service, check string) (err error) {
	known := f.nodes(q.namespace).byName[name]
	switch {
	case known == nil || service != "" || !q.knows(known.key):
	case check == "":
		err = f.doToNode(q, domain.DeregisterInstance{Key: known.key, Reason: "consul: deregistered from the catalog"})
	case hasID(known.checks, check):
		err = f.removeCheck(q, known.key, check)
	}
	if isGone(err) {
		return nil
	}
	return err
}

// removeCheck removes a check that clients see at an instance, whoever judges it.
func (f *face) removeCheck(q *request, key domain.Key, id string) error {
	i, live := f.live(key)
	if !live {
		return nil
	}
	if slices.ContainsFunc(i.Checks, func(c wire.Check) bool { return c.ID == escape(id) }) {
		_, err := f.do(q, domain.RemoveCheck{Key: key, Check: escape(id)})
		return err
	}
	return f.removeWritten(q, key, id)
}

func hasID(checks []healthCheck, id string) bool {
	return slices.ContainsFunc(checks, func(c healthCheck) bool { return c.CheckID == id })
}
