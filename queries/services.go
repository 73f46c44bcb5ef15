package queries

import (
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Services summarizes the services of a namespace ("": of all) in the order of their names.
func Services(c *catalog.Catalog, namespace string) []wire.ServiceSummary {
	summaries := []wire.ServiceSummary{}
	for _, key := range c.Services(namespace) {
		if s := Service(c.View(key)); s.Instances > 0 {
			summaries = append(summaries, s)
		}
	}
	return summaries
}

// Service summarizes one service.
func Service(v *catalog.View) wire.ServiceSummary {
	s := wire.ServiceSummary{
		Namespace: v.Service.Namespace, Service: v.Service.Service, Instances: len(v.Entries),
		Statuses: map[domain.Status]int{}, Position: wire.Position{Number: v.Position},
	}
	for _, e := range v.Entries {
		s.Statuses[e.Status()]++
		if e.Ready() {
			s.Ready++
		}
	}
	return s
}
