package consul

import (
	"cmp"
	"net/http"

	"github.com/rollcall-registry/rollcall/domain"
)

func serviceKey(namespace, service string) domain.ServiceKey {
	return domain.ServiceKey{Namespace: namespace, Service: service}
}

// catalogRegistration is the body of /v1/catalog/register: a node, and what is at it.
type catalogRegistration struct {
	ID, Node, Address, Datacenter string

	NodeMeta map[string]string
	Service  *struct {
		serviceRegistration
		Service string
	}
	Check  *catalogCheck
	Checks []*catalogCheck
}

type catalogCheck struct {
	Node, CheckID, Name, Notes, Status, Output, ServiceID string
}

// catalogRegister registers a service at a node that the request names. The node's and the checks' statuses are what is
// written: nobody looks, and no time runs out.
func (f *face) catalogRegister(q *request) error {
	var body catalogRegistration
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.Node == "" || body.Address == "" {
		return failure{http.StatusInternalServerError, "Must provide node and address"}
	}
	if body.Datacenter != "" && body.Datacenter != f.Datacenter {
		return failure{http.StatusInternalServerError, "No path to datacenter"}
	}
	n := node{body.Node, body.Address}
	if body.Check != nil {
		body.Checks = append(body.Checks, body.Check)
	}
	worst := domain.Passing
	for _, c := range body.Checks {
		if c == nil {
			continue
		}
		switch c.Status {
		case critical:
			worst = domain.Critical
		case warning:
			if worst == domain.Passing {
				worst = domain.Warning
			}
		case passing, "":
		default:
			return failure{http.StatusBadRequest, "Invalid check status: '" + c.Status + "'"}
		}
	}
	if body.Service == nil {
		for _, c := range body.Checks { // the status of a service that is there
			if c == nil || c.ServiceID == "" {
				continue
			}
			found, live := f.find(q, n, c.ServiceID)
			if !live {
				return failure{http.StatusInternalServerError, "Missing service registration: " + c.ServiceID}
			}
			if _, err := f.do(q, domain.ReportHealth{Key: found.key, Status: domain.Status(cmp.Or(c.Status, critical)), Source: domain.FromClient, Output: clip(c.Output, domain.MaxOutput)}); err != nil {
				return err
			}
		}
		return q.send(http.StatusOK, []byte("true"))
	}
	service := body.Service.serviceRegistration
	service.Name = cmp.Or(body.Service.Service, service.Name)
	if service.Name == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	service.ID = cmp.Or(service.ID, service.Name)
	service.Check, service.Checks = nil, nil
	if w := service.Weights; w != nil && *w == (weights{}) { // consul/api sends zeros for none here
		service.Weights = nil
	}
	if err := f.registerAs(q, n, service, worst, origin{NodeID: body.ID, NodeMeta: body.NodeMeta}); err != nil {
		return err
	}
	return q.send(http.StatusOK, []byte("true"))
}

func (f *face) catalogDeregister(q *request) error {
	var body struct{ Node, ServiceID, CheckID, Datacenter string }
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.Node == "" {
		return failure{http.StatusBadRequest, "Missing node name"}
	}
	if body.Datacenter != "" && body.Datacenter != f.Datacenter {
		return failure{http.StatusInternalServerError, "No path to datacenter"}
	}
	for _, s := range f.ofNode(q, body.Node) {
		if body.ServiceID != "" && s.entry.Service.ID != body.ServiceID {
			continue
		}
		var command domain.Command = domain.DeregisterInstance{Key: s.key, Reason: "consul: deregistered from the catalog"}
		if body.CheckID != "" {
			id := escape(body.CheckID)
			if !hasID(s.entry.Checks, body.CheckID) {
				continue
			}
			command = domain.RemoveCheck{Key: s.key, Check: id}
		}
		if _, err := f.do(q, command); err != nil {
			return err
		}
	}
	return q.send(http.StatusOK, []byte("true"))
}

func hasID(checks []healthCheck, id string) bool {
	for _, c := range checks {
		if c.CheckID == id {
			return true
		}
	}
	return false
}
