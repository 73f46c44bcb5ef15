package queries

import (
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// ServiceSummary counts a service's instances.
type ServiceSummary struct {
	Namespace string                `json:"namespace"`
	Service   string                `json:"service"`
	Instances int                   `json:"instances"`
	Ready     int                   `json:"ready"` // may get traffic
	Statuses  map[domain.Status]int `json:"statuses"`
	Position  eventstore.Position   `json:"position,string"` // of the newest change
}

// Services summarizes the services of a namespace ("": of all) in the order of their names.
func Services(c *catalog.Catalog, namespace string) []ServiceSummary {
	summaries := []ServiceSummary{}
	for _, key := range c.Services(namespace) {
		if s := Service(c.View(key)); s.Instances > 0 {
			summaries = append(summaries, s)
		}
	}
	return summaries
}

// Service summarizes one service.
func Service(v *catalog.View) ServiceSummary {
	s := ServiceSummary{
		Namespace: v.Service.Namespace, Service: v.Service.Service, Instances: len(v.Entries),
		Statuses: map[domain.Status]int{}, Position: v.Position,
	}
	for _, e := range v.Entries {
		s.Statuses[e.Status()]++
		if e.Ready() {
			s.Ready++
		}
	}
	return s
}
