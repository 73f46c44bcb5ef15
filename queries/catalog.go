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
	keys := c.Services(namespace)
	views := make([]*catalog.View, len(keys))
	for i, key := range keys {
		views[i] = c.View(key)
	}
	return ShowViews(views, InstanceFilter{})
}

// ShowViews is services with those of their instances that a filter picks.
func ShowViews(views []*catalog.View, filter InstanceFilter) []ServiceInstances {
	all := []ServiceInstances{}
	for _, v := range views {
		s := ServiceInstances{Namespace: v.Service.Namespace, Service: v.Service.Service}
		for _, e := range v.Entries {
			if filter.match(e) {
				s.Instances = append(s.Instances, e.Show())
			}
		}
		if len(s.Instances) > 0 {
			all = append(all, s)
		}
	}
	return all
}
