package queries

import (
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Everything is the whole catalog, or one namespace of it, in order of names and ids.
func Everything(c *catalog.Catalog, namespace string) []wire.ServiceInstances {
	keys := c.Services(namespace)
	views := make([]*catalog.View, len(keys))
	for i, key := range keys {
		views[i] = c.View(key)
	}
	return ShowViews(views, InstanceFilter{})
}

// ShowViews is services with those of their instances that a filter picks.
func ShowViews(views []*catalog.View, filter InstanceFilter) []wire.ServiceInstances {
	all := []wire.ServiceInstances{}
	for _, v := range views {
		s := wire.ServiceInstances{Namespace: v.Service.Namespace, Service: v.Service.Service}
		for _, e := range v.Entries {
			if filter.match(e) {
				s.Instances = append(s.Instances, Show(e, nil))
			}
		}
		if len(s.Instances) > 0 {
			all = append(all, s)
		}
	}
	return all
}
