package queries

import (
	"context"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A catalog of the past is made from a snapshot, which has no service without instances. So it does not know when a service became
// empty, nor whether that was the newest change to any. The log and the history know.

// removals are the events after which a service may have no instance.
var removals = []string{domain.TypeInstanceDeregistered, domain.TypeLeaseExpired}

// changed gives the position of the newest change to any service. The position of the live catalog is that of the moment of the call,
// so that an answer is not older than its position.
func (c *Catalog) changed(ctx context.Context) (func() eventstore.Position, error) {
	if c.Live {
		return c.catalog.Changed, nil
	}
	newest := eventstore.Position(0)
	for e, err := range c.service.Store.ReadAll(ctx, eventstore.ReadAllOptions{
		After: c.Moment.Position + 1, Backwards: true, Limit: 1, Filter: eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}},
	}) {
		if err != nil {
			return nil, err
		}
		newest = e.Position
	}
	return func() eventstore.Position { return newest }, nil
}

// ended gives the newest position at which a service of a namespace lost its last instance.
func (c *Catalog) ended(ctx context.Context) (func(namespace string) wire.Position, error) {
	ended := c.catalog.EndedIn
	if !c.Live && c.Moment.Position > 0 {
		if err := reach(ctx, "history", c.service.History, c.Moment.Position); err != nil {
			return nil, err
		}
		newest := map[string]eventstore.Position{}
		for _, key := range c.catalog.Services("") {
			if _, known := newest[key.Namespace]; known {
				continue
			}
			removed, err := c.service.newestRemoval(ctx, domain.ServiceKey{Namespace: key.Namespace}, c.Moment.Position)
			if err != nil {
				return nil, err
			}
			newest[key.Namespace] = removed
		}
		ended = func(namespace string) eventstore.Position { return newest[namespace] }
	}
	return func(namespace string) wire.Position { return at(c.service.Timelines(), ended(namespace)) }, nil
}

// viewOf is view with the position of a service that had no instance at a past moment, which is that of the removal of its last one.
func (c *Catalog) viewOf(ctx context.Context, key domain.ServiceKey) (*catalog.View, error) {
	view := c.view(key)
	if c.Live || len(view.Entries) > 0 || c.Moment.Position == 0 {
		return view, nil
	}
	if err := reach(ctx, "history", c.service.History, c.Moment.Position); err != nil {
		return nil, err
	}
	removed, err := c.service.newestRemoval(ctx, key, c.Moment.Position)
	return &catalog.View{Service: view.Service, Position: removed}, err
}

// newestRemoval is the position of the newest removal of an instance of a service, or with no service of a namespace, up to a position; 0: there
// was none.
func (s *Service) newestRemoval(ctx context.Context, key domain.ServiceKey, upTo eventstore.Position) (eventstore.Position, error) {
	q := history.Query{Namespace: key.Namespace, Service: key.Service, Types: removals, Before: upTo + 1, Newest: true, Limit: 1}
	for {
		page, err := s.History.Find(ctx, q)
		switch {
		case err != nil:
			return 0, err
		case len(page.Entries) > 0:
			return page.Entries[0].Position, nil
		case !page.More:
			return 0, nil
		}
		q.Before = page.Next
	}
}
