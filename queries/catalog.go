package queries

import (
	"context"
	"fmt"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Catalog is the catalog that a query asks about: the live catalog, or the catalog of a moment.
type Catalog struct {
	Moment Moment // where the catalog stood when the query began
	Live   bool

	// Visible limits what lists of more than one service show; nil: they show all. What is limited is made for each query anew.
	Visible Visible

	// Secrets limits what is shown of one instance. Whatever shows more than one shows no secrets.
	Secrets Secrets

	catalog *catalog.Catalog
	service *Service
}

// made is Service.made for a list of more than one service. A list that shows only a part is shared with no other query.
func (c *Catalog) made(ctx context.Context, name string, encode func() encoded.Form) (encoded.Form, error) {
	if c.Visible != nil {
		name += fmt.Sprintf(" for %p", c)
	}
	return c.service.made(ctx, name, c.catalog.Len(), encode)
}

// Catalog is the catalog of a moment; "": the live catalog.
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

// Heavy says that answers about a service, or with the zero key about all, are made in turns of their own.
func (c *Catalog) Heavy(key domain.ServiceKey) bool {
	if key == (domain.ServiceKey{}) {
		return c.catalog.Len() >= heavyEntries
	}
	return len(c.view(key).Entries) >= heavyEntries
}

// AllNamespaces is what a query gives for its namespace to mean all of them.
const AllNamespaces = "*"

// OneNamespace is the namespace that a query gives, or "" where the query gives AllNamespaces.
func OneNamespace(namespace string) string {
	if namespace == AllNamespaces {
		return ""
	}
	return namespace
}

// Services summarizes the services of a namespace, in JSON.
func (c *Catalog) Services(ctx context.Context, namespace string) (encoded.Form, error) {
	within, err := within(namespace)
	if err != nil {
		return encoded.Form{}, err
	}
	changed, err := c.changed(ctx)
	if err != nil {
		return encoded.Form{}, err
	}
	return c.made(ctx, "services "+namespace+c.name(), func() encoded.Form {
		list := wire.ServiceList{Position: c.service.At(changed()), Note: c.Moment.note()}
		list.Services = c.Visible.summaries(c.summaries(within))
		if c.Live {
			list.ExpiryHeld = c.Visible.held(c.service.expiryHeld(within), list.Services)
		}
		return encoded.Tagged(mustJSON(list))
	})
}

// Namespaces summarizes the namespaces that have instances, in JSON.
func (c *Catalog) Namespaces(ctx context.Context) (encoded.Form, error) {
	changed, err := c.changed(ctx)
	if err != nil {
		return encoded.Form{}, err
	}
	ended, err := c.ended(ctx)
	if err != nil {
		return encoded.Form{}, err
	}
	return c.made(ctx, "namespaces"+c.name(), func() encoded.Form {
		return encoded.Tagged(mustJSON(wire.NamespaceList{
			Position: c.service.At(changed()), Note: c.Moment.note(), Namespaces: namespaces(c.Visible.summaries(c.summaries("")), ended),
		}))
	})
}

// within is the namespace of a list; "": all.
func within(namespace string) (string, error) {
	if one := OneNamespace(namespace); one == "" && namespace != "" {
		return "", nil
	}
	return namespace, domain.ValidateLabel("ns", namespace)
}

// Service summarizes one service.
func (c *Catalog) Service(key domain.ServiceKey) (wire.ServiceSummary, error) {
	view := c.catalog.View(key)
	if len(view.Entries) == 0 {
		return wire.ServiceSummary{}, UnknownService{key}
	}
	s := summary(c.service.Timelines(), view)
	if c.Live {
		s.Panic = c.service.Panic(view)
		s.ExpiryHeld = c.service.expiryHeldIn(key.Namespace)
	}
	return s, nil
}

// view is a service's.
func (c *Catalog) view(key domain.ServiceKey) *catalog.View {
	if c.Live {
		return c.service.View(key)
	}
	return c.catalog.View(key)
}

// name is "" for the live catalog. The name of a moment's catalog differs from all others as long as anyone has the catalog.
func (c *Catalog) name() string {
	if c.Live {
		return ""
	}
	return fmt.Sprintf(" in %p of %d, %v", c.catalog, c.Moment.Position, c.Moment.Time)
}

// Instance is one instance. One that is not in the catalog is Gone, or a domain.UnknownInstance.
func (c *Catalog) Instance(ctx context.Context, key domain.Key) (wire.Instance, error) {
	entry := c.catalog.Find(key)
	switch {
	case entry != nil && c.Live:
		shown := c.show(entry, c.service.leaseEnds())
		c.service.observeChecks(entry, shown.Checks)
		shown.ExpiryHeld = c.service.expiryHeldIn(key.Namespace)
		return shown, nil
	case entry != nil:
		shown := c.show(entry, nil)
		flapping(entry, shown.Checks, c.Moment.Time)
		return shown, nil
	case c.Live:
		return wire.Instance{}, c.service.gone(ctx, key, 0)
	case c.Moment.Early:
		return wire.Instance{}, domain.UnknownInstance{Key: key}
	}
	return wire.Instance{}, c.service.gone(ctx, key, c.Moment.Position)
}

func (c *Catalog) show(entry *catalog.Entry, ends *leaseEnds) wire.Instance {
	if c.Secrets == nil || c.Secrets(eventstore.LifecycleStream(entry.Key())) {
		return ShowWhole(entry, ends)
	}
	return Show(entry, ends)
}

// Everything is every service with the instances that a filter picks, of a namespace or ("") of all, in JSON. Services of
// which the filter picks none are left out.
func (c *Catalog) Everything(ctx context.Context, namespace string, filter InstanceFilter) (encoded.Form, error) {
	if err := c.checkEverything(namespace, filter); err != nil {
		return encoded.Form{}, err
	}
	return c.made(ctx, "catalog "+namespace+" "+filter.Text()+c.name(), func() encoded.Form {
		frame := wire.Catalog{Place: c.place(), Services: []wire.ServiceInstances{}}
		keys := c.catalog.Services(namespace)
		views := make([]*catalog.View, len(keys))
		for i, key := range keys {
			views[i] = c.catalog.View(key)
			if filter.MaxSilence > 0 {
				views[i] = &catalog.View{Service: key, Entries: c.service.heard(views[i].Entries, filter.MaxSilence)}
			}
		}
		return encodeServices(frame, c.Visible.views(views), c.givenBy(filter))
	})
}

func (c *Catalog) checkEverything(namespace string, filter InstanceFilter) error {
	if filter.MaxSilence > 0 && !c.Live {
		return filter.refuseSilence("at", silencePast)
	}
	if namespace == "" {
		return nil
	}
	return domain.ValidateLabel("ns", namespace)
}

// place is where the catalog stands.
func (c *Catalog) place() wire.Place {
	moment := c.Moment
	if c.Live {
		moment.Position = c.service.Live.Position()
	}
	return moment.place(c.service.Timelines())
}

// changedAt is the position of the newest change to a service, or with the zero key to any
// of them.
func (s *Service) changedAt(key domain.ServiceKey) eventstore.Position {
	if key == (domain.ServiceKey{}) {
		return s.Live.Catalog().Changed()
	}
	return s.View(key).Position
}
