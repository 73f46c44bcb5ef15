package queries

import (
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// summaries counts the instances of each service of a namespace ("": of all namespaces), in the order of the names.
func (c *Catalog) summaries(namespace string) []wire.ServiceSummary {
	all := []wire.ServiceSummary{}
	for _, key := range c.catalog.Services(namespace) {
		if s := c.summary(key); s.Instances > 0 {
			all = append(all, s)
		}
	}
	return all
}

// summary counts the instances of one service, and says whether it panics.
func (c *Catalog) summary(key domain.ServiceKey) wire.ServiceSummary {
	view := c.catalog.View(key)
	s := summary(c.service.Timelines(), view)
	if c.Live {
		s.Panic = c.service.Panic(view)
	}
	return s
}

// namespaces adds up the services of each namespace. ended gives the newest end of a service of a namespace. REQUIRES: services are in
// the order of their namespaces.
func namespaces(services []wire.ServiceSummary, ended func(namespace string) wire.Position) []wire.NamespaceSummary {
	all := []wire.NamespaceSummary{}
	for _, s := range services {
		if len(all) == 0 || all[len(all)-1].Namespace != s.Namespace {
			all = append(all, wire.NamespaceSummary{Namespace: s.Namespace, Position: ended(s.Namespace)})
		}
		n := &all[len(all)-1]
		n.Services++
		n.Instances += s.Instances
		n.Ready += s.Ready
		if s.Position.Number > n.Position.Number {
			n.Position = s.Position
		}
	}
	return all
}

// summary counts the instances of one service.
func summary(timelines eventstore.Timelines, v *catalog.View) wire.ServiceSummary {
	s := wire.NewServiceSummary(v.Service)
	s.Position = at(timelines, v.Position)
	for _, e := range v.Entries {
		s.Count(e.Status(), e.Traffic(), e.Ready(), e.ChangedAt())
	}
	return s
}
