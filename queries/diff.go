package queries

import (
	"context"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Diff compares the catalogs at two moments. The later moment is now if to is "".
func (s *Service) Diff(ctx context.Context, from, to string) (d wire.Diff, err error) {
	if from == "" {
		return d, domain.InvalidField{Field: "from", Rule: `is needed: an RFC 3339 time, a position, or "5m ago"`}
	}
	if to == "" {
		to = "now"
	}
	if err := s.historyUpToDate(ctx); err != nil {
		return d, err
	}
	begin, err := s.Moment(ctx, "from", from)
	if err != nil {
		return d, err
	}
	end, err := s.Moment(ctx, "to", to)
	if err != nil {
		return d, err
	}
	if begin.after(&end) {
		return d, domain.InvalidField{Field: "from", Rule: "must not be after to"}
	}
	before, err := s.Past.At(ctx, begin.Position)
	if err != nil {
		return d, err
	}
	after, err := s.Past.At(ctx, end.Position)
	if err != nil {
		return d, err
	}
	d.From, d.To = begin.place(s.Timelines()), end.place(s.Timelines())
	d.Difference, err = difference(ctx, before, after, s.Timelines(), end.Position, s.History)
	return d, err
}

// difference compares two catalogs; to is the one at the position. The events that did it come from h.
func difference(ctx context.Context, from, to *catalog.Catalog, timelines eventstore.Timelines, at eventstore.Position, h *history.History) (wire.Difference, error) {
	d := wire.Difference{Added: []wire.InstanceChange{}, Removed: []wire.InstanceChange{}, Changed: []wire.InstanceChange{}}
	for _, service := range union(from.Services(""), to.Services("")) {
		before, after := byID(from.View(service)), byID(to.View(service))
		for _, id := range unionIDs(from.View(service), to.View(service)) {
			a, b := before[id], after[id]
			if a != nil && b != nil && a.Epoch == b.Epoch && a.Events == b.Events {
				continue
			}
			change := wire.InstanceChange{Namespace: service.Namespace, Service: service.Service, ID: id}
			if err := explain(ctx, &change, a, b, timelines, at, h); err != nil {
				return d, err
			}
			switch {
			case a == nil:
				d.Added = append(d.Added, change)
			case b == nil:
				d.Removed = append(d.Removed, change)
			default:
				d.Changed = append(d.Changed, change)
			}
		}
	}
	return d, nil
}

func explain(ctx context.Context, c *wire.InstanceChange, a, b *catalog.Entry, timelines eventstore.Timelines, at eventstore.Position, h *history.History) error {
	if a != nil {
		shown := Show(a, nil)
		c.Before = &shown
	}
	if b != nil {
		shown := Show(b, nil)
		c.After = &shown
	}
	if a != nil && b != nil {
		c.Fields = instanceChanges(c.Before, c.After)
	}
	newest := history.Query{Namespace: c.Namespace, Service: c.Service, ID: c.ID, Before: at + 1, Newest: true, Limit: 1}
	page, err := h.Find(ctx, newest)
	if err != nil || len(page.Entries) == 0 {
		return err
	}
	entry := ShowEntry(timelines, &page.Entries[0])
	c.Event = &entry
	return nil
}

func instanceChanges(a, b *wire.Instance) []wire.FieldChange {
	fields := detailChanges(a.Details, b.Details)
	if a.Traffic != b.Traffic {
		fields = append(fields, wire.FieldChange{Field: "traffic", From: a.Traffic, To: b.Traffic})
	}
	if a.Owner != b.Owner {
		fields = append(fields, wire.FieldChange{Field: "owner", From: a.Owner, To: b.Owner})
	}
	if a.Epoch != b.Epoch {
		fields = append(fields, wire.FieldChange{Field: "epoch", From: a.Epoch, To: b.Epoch}, wire.FieldChange{Field: "registered_at", From: a.RegisteredAt, To: b.RegisteredAt})
	}
	if a.Revision != b.Revision {
		fields = append(fields, wire.FieldChange{Field: "revision", From: a.Revision, To: b.Revision})
	}
	return fields
}

func byID(v *catalog.View) map[string]*catalog.Entry {
	m := make(map[string]*catalog.Entry, len(v.Entries))
	for _, e := range v.Entries {
		m[e.ID()] = e
	}
	return m
}

func unionIDs(a, b *catalog.View) []string {
	var ids []string
	for _, v := range []*catalog.View{a, b} {
		for _, e := range v.Entries {
			ids = append(ids, e.ID())
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func union(a, b []domain.ServiceKey) []domain.ServiceKey {
	all := slices.Concat(a, b)
	slices.SortFunc(all, catalog.ByName)
	return slices.Compact(all)
}
