package queries

import (
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// ServiceInstances is a service with all its instances.
type ServiceInstances struct {
	Namespace string             `json:"namespace"`
	Service   string             `json:"service"`
	Instances []catalog.Instance `json:"instances"`
}

// Everything is the whole catalog, or one namespace of it, in order of names and ids.
func Everything(c *catalog.Catalog, namespace string) []ServiceInstances {
	all := []ServiceInstances{}
	for _, key := range c.Services(namespace) {
		s := ServiceInstances{Namespace: key.Namespace, Service: key.Service}
		for _, e := range c.View(key).Entries {
			s.Instances = append(s.Instances, e.Show())
		}
		if len(s.Instances) > 0 {
			all = append(all, s)
		}
	}
	return all
}
