package consul

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// importedEntry is an instance as the health of a service lists it.
type importedEntry struct {
	Node struct {
		ID, Node, Address     string
		Meta, TaggedAddresses map[string]string
	}
	Service struct {
		serviceRegistration
		Service string
	}
	Checks []struct{ CheckID, Name, Type, Status, Notes string }
}

// take makes what the registry has of a service what the other one has. It looks again where a client changed meanwhile what it decided on:
// an instance that registers here is left alone from then on.
func (i *Import) take(ctx context.Context, name string, entries []importedEntry) error {
	for look := 1; ; look++ {
		overtaken, err := i.takeOnce(ctx, name, entries, look == looks)
		if err != nil || !overtaken {
			return err
		}
	}
}

// looks is how often an import looks again for one answer of the other registry.
const looks = 5

// takeOnce says whether a client came before it. After the last look, what cannot be written is refused.
func (i *Import) takeOnce(ctx context.Context, name string, entries []importedEntry, last bool) (overtaken bool, err error) {
	here, err := i.Registry.Instances(ctx, domain.ServiceKey{Service: name}, client.InstancesQuery{})
	if err != nil && !isNotFound(err) {
		return false, err
	}
	present := here.Value.Instances
	there := map[string]bool{} // by id
	for _, e := range entries {
		instance, err := i.details(e)
		if err == nil {
			var id string
			if id, err = i.register(ctx, name, instance, present, there); id != "" {
				there[id] = true
			}
		}
		var refused *wire.Problem
		var failed failure
		switch {
		case err == nil:
		case isMismatch(err) && !last:
			overtaken = true
		case errors.As(err, &failed), errors.As(err, &refused) && refused.Status < 500 && refused.Status != 429:
			i.refused.Add(1)
			i.Logger.Warn("an instance cannot be imported", "service", name, "id", e.Service.ID, "node", e.Node.Node, "error", err)
		default:
			return false, err
		}
	}
	for _, instance := range present {
		if there[instance.ID] || !i.isOurs(instance) {
			continue
		}
		_, err := i.Registry.Deregister(ctx, instance.Key(), "consul: it is gone at "+i.From, client.AtRevision(instance.Revision))
		if err != nil && !isNotFound(err) && !isMismatch(err) { // whoever changed it meanwhile registered it here
			return false, err
		}
		i.deregistered.Add(1)
	}
	return overtaken, nil
}

func isNotFound(err error) bool {
	var p *wire.Problem
	return errors.As(err, &p) && (p.Status == 404 || p.Status == 410)
}

func isMismatch(err error) bool {
	var p *wire.Problem
	return errors.As(err, &p) && p.Status == 412
}

// arrival is an instance that is to be imported.
type arrival struct {
	domain.Details
	origin origin
	reason string // of the maintenance there
}

// register registers an instance under the id that it has here already, or under its own. An id that is taken by what was
// not imported is that of the same instance, which has registered here by itself, or gets the node's name added.
func (i *Import) register(ctx context.Context, service string, a arrival, present []wire.Instance, there map[string]bool) (id string, err error) {
	var before *wire.Instance
	plain := escape(a.origin.ID)
	own := plain + "@" + escape(a.origin.Node)
	taken := there[plain]
	for n := range present {
		p := &present[n]
		o, born := originOf(p.Origin)
		if born && o.Node == a.origin.Node && cmp.Or(o.ID, unescape(p.ID)) == a.origin.ID && i.isOurs(*p) {
			before = p
			break
		}
		if p.ID != plain && p.ID != own {
			continue
		}
		if !i.isOurs(*p) && p.Address == a.Address {
			return p.ID, nil
		}
		taken = taken || p.ID == plain
	}
	id = plain
	switch {
	case before != nil:
		id = before.ID
	case taken:
		id = own
	}
	key, state := domain.Key{Service: service, ID: id}, client.CreateOnly()
	if before != nil {
		state = client.AtRevision(before.Revision)
	}
	reply, err := i.Registry.Register(ctx, key, a.Details, state)
	if err != nil {
		return id, err
	}
	if before == nil || reply.Value.Revision != before.Revision {
		i.registered.Add(1)
	}
	was := false
	if before != nil {
		o, _ := originOf(before.Origin)
		registeredOnly := before.Traffic == domain.Serving && before.ChangedAt.Equal(before.RegisteredAt) // what was to follow did not
		was = o.Imported.Maintained && !registeredOnly
	}
	if a.origin.Imported.Maintained != was {
		traffic := domain.Serving
		if a.origin.Imported.Maintained {
			traffic = domain.Maintenance
		}
		_, err = i.Registry.ChangeTraffic(ctx, key, traffic, a.reason, client.AtRevision(reply.Value.Revision))
	}
	return id, err
}

// details are an entry in the domain's words.
func (i *Import) details(e importedEntry) (a arrival, err error) {
	service := e.Service.serviceRegistration
	service.Name = cmp.Or(e.Service.Service, service.Name)
	service.ID = cmp.Or(service.ID, service.Name)
	service.Check, service.Checks = nil, nil
	for _, raw := range []*[]byte{(*[]byte)(&service.Proxy), (*[]byte)(&service.Connect)} {
		if string(*raw) == "{}" {
			*raw = nil
		}
	}
	if w := service.Weights; w != nil && w.Passing < 1 {
		service.Weights = nil
	}
	o := origin{NodeID: e.Node.ID, NodeMeta: e.Node.Meta, NodeTagged: e.Node.TaggedAddresses, Imported: &imported{From: i.From}}
	status := domain.Passing
	for _, c := range e.Checks {
		if strings.HasPrefix(c.CheckID, serviceMaintenance) || c.CheckID == nodeMaintenance {
			o.Imported.Maintained, a.reason = true, clip(c.Notes, domain.MaxReason)
			continue
		}
		o.Imported.Checks = append(o.Imported.Checks, writtenCheck{ID: c.CheckID, Name: c.Name, Type: c.Type, Status: c.Status})
		switch {
		case c.Status == critical:
			status = domain.Critical
		case c.Status == warning && status == domain.Passing:
			status = domain.Warning
		}
	}
	slices.SortFunc(o.Imported.Checks, func(a, b writtenCheck) int { return strings.Compare(a.ID, b.ID) })
	if a.Details, err = new(face).details(node{e.Node.Node, e.Node.Address}, service, &o); err != nil {
		return a, err
	}
	a.Status, a.origin = status, o
	a.Details.Origin, err = o.encode()
	return a, err
}
