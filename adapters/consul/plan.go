package consul

import (
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries"
)

// plan is a registration as it is to be written. It is made from one look at the catalog, and is refused where another request
// changed meanwhile what was seen there: then it is made anew, so that no check is lost or comes back.
type plan struct {
	command domain.RegisterInstance
	match   *uint64          // the revision of the live instance that is registered again; nil: none is live
	moved   []*catalog.Entry // what else has the id at the node: the registration takes their place
	ends    []commands.Part  // what ends with the registration besides
}

// plan plans the registration of a service at a node. Checks of the instance stay unless they are to be replaced. o.Written are the
// checks that /v1/catalog/register writes.
func (f *face) plan(q *request, n node, body serviceRegistration, replace bool, o origin) (p plan, err error) {
	details, err := f.details(n, body, &o)
	if err != nil {
		return p, err
	}
	p.command.Key = domain.Key{Namespace: q.namespace, Service: body.Name, ID: escape(body.ID)}
	var before *catalog.Entry
	taken := f.Queries.Live.Catalog().Find(p.command.Key) // before the look at the node: what comes in between is no other node's
	here, _ := f.named(q, n, body.ID)
	for _, entry := range here {
		if before == nil && entry.Key().ServiceKey() == p.command.Key.ServiceKey() {
			before = entry
		} else {
			p.moved = append(p.moved, entry)
		}
	}
	switch {
	case before != nil:
		revision := before.Revision()
		p.command.Key, p.match = before.Key(), &revision
		if !replace {
			keepChecks(before, &details, &o)
		}
	case taken != nil && !isAt(taken, n): // the id is another node's
		p.command.Key.ID += "@" + escape(n.name)
	}
	p.command.CreateOnly = before == nil
	details.Status = worst(o.Written)
	details.Origin, err = o.encode()
	p.command.Details = details
	return p, err
}

func isAt(entry *catalog.Entry, n node) bool {
	i := queries.Show(entry, nil)
	return nodeNameOf(&i) == n.name
}

// keepChecks adds the checks that the live instance has and the registration does not name.
func keepChecks(entry *catalog.Entry, d *domain.Details, o *origin) {
	i := queries.ShowWhole(entry, nil)
	before, born := originOf(i.Origin)
	if !born {
		return
	}
	written := origin{Written: before.Written}
	for _, c := range o.Written {
		written.write(c)
	}
	o.Written = written.Written
	for _, c := range i.Checks {
		if indexOfCheck(d.Checks, c.ID) < 0 {
			d.Checks = append(d.Checks, c.Check)
			o.keep(c.ID, before.Checks[c.ID])
		}
	}
}

// register carries out a plan, or the plan that anew makes where the plan before does not hold any more.
func (f *face) register(q *request, n node, id string, p plan, anew func() (plan, error)) error {
	holds := true
	return f.again(q, func() (err error) {
		if !holds {
			if p, err = anew(); err != nil {
				return err
			}
		}
		holds = false
		return f.carryOut(q, n, id, p)
	})
}

func (f *face) carryOut(q *request, n node, id string, p plan) error {
	result, err := f.write(q, p)
	if err != nil {
		return err
	}
	key := p.command.Key
	f.remember(agentID{namespace: q.namespace, node: n.name, id: id}, target{key: key}, result.Position)
	for _, c := range p.command.Details.Checks {
		f.remember(agentID{namespace: q.namespace, node: n.name, id: unescape(c.ID), check: true}, target{key, c.ID}, result.Position)
	}
	if err := f.followNode(q, key, n.name); err != nil { // the registration stands, whatever keeps the instance in traffic
		f.Logger.Debug("an instance does not follow its node into maintenance", "instance", key.String(), "node", n.name, "cause", err)
	}
	return nil
}

// write writes the registration of a plan, together with the end of what has the same id under other names: an id never has two names, and
// none of its names ends for a registration that is refused.
func (f *face) write(q *request, p plan) (commands.Result, error) {
	allowed, err := q.who.Command(p.command)
	if err != nil {
		return commands.Result{}, err
	}
	registration := commands.Part{Caller: q.caller(), Request: commands.Request{Command: allowed, IfMatch: p.match}}
	if len(p.moved)+len(p.ends) == 0 {
		result := f.Commands.Do(q.Request().Context(), registration.Caller, registration.Request)
		return result, result.Err
	}
	parts := append([]commands.Part{registration}, p.ends...)
	for _, before := range p.moved {
		end, err := f.deregistration(q, before.Key(), "consul: registered again as "+p.command.Key.Service)
		if err != nil {
			return commands.Result{}, err
		}
		revision := before.Revision()
		end.IfMatch = &revision
		parts = append(parts, end)
	}
	results, err := f.Commands.Together(q.Request().Context(), parts...)
	if err != nil {
		return commands.Result{}, err
	}
	return results[0], nil
}
