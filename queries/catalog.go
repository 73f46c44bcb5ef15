package queries

import (
	"context"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Catalog is the catalog that a query asks about: the live one, or that of a moment.
type Catalog struct {
	Moment Moment // where the catalog stood when the query began
	Live   bool

	catalog *catalog.Catalog
	service *Service
}

// Catalog is the catalog as it was at a moment; "" is the live one.
func (s *Service) Catalog(ctx context.Context, at string) (*Catalog, error) {
	if at == "" {
		return &Catalog{Moment: Moment{Position: s.Live.Position()}, Live: true, catalog: s.Live.Catalog(), service: s}, nil
	}
	m, err := s.Moment(ctx, "at", at)
	if err != nil {
		return nil, err
	}
	past, err := s.Past.At(ctx, m.Position)
	if err != nil {
		return nil, err
	}
	return &Catalog{Moment: m, catalog: past, service: s}, nil
}

// AllNamespaces is what a query gives for its namespace to mean all of them.
const AllNamespaces = "*"

// Services summarizes the services of a namespace.
func (c *Catalog) Services(namespace string) (list wire.ServiceList, err error) {
	if namespace == AllNamespaces {
		namespace = ""
	} else if err := domain.ValidateLabel("ns", namespace); err != nil {
		return list, err
	}
	return wire.ServiceList{Position: c.service.At(c.catalog.Changed()), Services: summaries(c.service.Timeline(), c.catalog, namespace)}, nil
}

// Service summarizes one service.
func (c *Catalog) Service(key domain.ServiceKey) (wire.ServiceSummary, error) {
	view := c.catalog.View(key)
	if len(view.Entries) == 0 {
		return wire.ServiceSummary{}, UnknownService{key}
	}
	return summary(c.service.Timeline(), view), nil
}

// Instances gives those of a service's instances that a filter picks, in JSON. Only the live catalog
// knows leases.
func (c *Catalog) Instances(key domain.ServiceKey, filter InstanceFilter, withLeases bool) encoded.Form {
	var table *leases.Table
	if withLeases && c.Live {
		table = c.service.Live.Leases()
	}
	view := c.catalog.View(key)
	if c.Live {
		view = c.service.View(key)
	}
	return Instances(c.service.Timeline(), view, filter, table)
}

// Instance is one instance. One that is not in the catalog is Gone, or a domain.UnknownInstance.
func (c *Catalog) Instance(ctx context.Context, key domain.Key) (wire.Instance, error) {
	entry := c.catalog.Find(key)
	switch {
	case entry != nil && c.Live:
		return Show(entry, c.service.Live.Leases()), nil
	case entry != nil:
		return Show(entry, nil), nil
	case c.Live:
		return wire.Instance{}, c.service.gone(ctx, key, 0)
	case c.Moment.Early:
		return wire.Instance{}, domain.UnknownInstance{Key: key}
	}
	return wire.Instance{}, c.service.gone(ctx, key, c.Moment.Position)
}

// Everything is every service with its instances, of a namespace or ("") of all.
func (c *Catalog) Everything(namespace string) (wire.Catalog, error) {
	if namespace != "" {
		if err := domain.ValidateLabel("ns", namespace); err != nil {
			return wire.Catalog{}, err
		}
	}
	return wire.Catalog{Place: c.Moment.place(c.service.Timeline()), Services: everything(c.catalog, namespace)}, nil
}

// everything is the whole catalog, or one namespace of it, in order of names and ids.
func everything(c *catalog.Catalog, namespace string) []wire.ServiceInstances {
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

// changedAt is the position of the newest change to a service, or with the zero key to any
// of them.
func (s *Service) changedAt(key domain.ServiceKey) eventstore.Position {
	if key == (domain.ServiceKey{}) {
		return s.Live.Catalog().Changed()
	}
	return s.View(key).Position
}
