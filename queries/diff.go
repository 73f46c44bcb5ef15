package queries

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// Difference is what must be done to the catalog at one moment to get that at another.
type Difference struct {
	Added   []InstanceChange `json:"added"`
	Removed []InstanceChange `json:"removed"`
	Changed []InstanceChange `json:"changed"`
}

// InstanceChange is what became of one instance.
type InstanceChange struct {
	Namespace string            `json:"namespace"`
	Service   string            `json:"service"`
	ID        string            `json:"id"`
	Before    *catalog.Instance `json:"before,omitempty"` // of a removed or changed one
	After     *catalog.Instance `json:"after,omitempty"`  // of an added or changed one
	Fields    []FieldChange     `json:"fields,omitempty"` // of a changed one
	Event     *HistoryEntry     `json:"event,omitempty"`  // the newest event that did it
}

// Diff compares two catalogs; to is the one at the position. The events that did it come from h.
func Diff(from, to *catalog.Catalog, at eventstore.Position, h *history.History) (Difference, error) {
	d := Difference{Added: []InstanceChange{}, Removed: []InstanceChange{}, Changed: []InstanceChange{}}
	for _, service := range union(from.Services(""), to.Services("")) {
		before, after := byID(from.View(service)), byID(to.View(service))
		for _, id := range unionIDs(from.View(service), to.View(service)) {
			a, b := before[id], after[id]
			if a != nil && b != nil && a.Epoch == b.Epoch && a.Events == b.Events {
				continue
			}
			change := InstanceChange{Namespace: service.Namespace, Service: service.Service, ID: id}
			if err := change.explain(a, b, at, h); err != nil {
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

func (c *InstanceChange) explain(a, b *catalog.Entry, at eventstore.Position, h *history.History) error {
	if a != nil {
		shown := a.Show()
		c.Before = &shown
	}
	if b != nil {
		shown := b.Show()
		c.After = &shown
	}
	if a != nil && b != nil {
		c.Fields = instanceChanges(c.Before, c.After)
	}
	newest := history.Query{Namespace: c.Namespace, Service: c.Service, ID: c.ID, Before: at + 1, Newest: true, Limit: 1}
	entries, _, err := h.Find(newest)
	if err != nil || len(entries) == 0 {
		return err
	}
	entry := ShowEntry(&entries[0])
	c.Event = &entry
	return nil
}

func instanceChanges(a, b *catalog.Instance) []FieldChange {
	fields := detailChanges(a.Details, b.Details)
	if a.Traffic != b.Traffic {
		fields = append(fields, FieldChange{"traffic", a.Traffic, b.Traffic})
	}
	if a.Epoch != b.Epoch {
		fields = append(fields, FieldChange{"epoch", a.Epoch, b.Epoch}, FieldChange{"registered_at", a.RegisteredAt, b.RegisteredAt})
	}
	if a.Revision != b.Revision {
		fields = append(fields, FieldChange{"revision", a.Revision, b.Revision})
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
