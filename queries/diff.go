package queries

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// DiffQuery asks for the difference between two moments, and for a page of it.
type DiffQuery struct {
	Namespace string // "": every namespace
	From, To  string // moments; To is now unless it is named
	Limit     string // changes of a page; "": MaxPage
	Cursor    string // Next of the page before: the moments are those of the first page
}

// Diff compares the catalogs at two moments. Each change costs a look into the history, so a page has MaxPage changes at most.
func (s *Service) Diff(ctx context.Context, q DiffQuery) (d wire.Diff, err error) {
	if q.From == "" {
		return d, domain.InvalidField{Field: "from", Rule: `is needed: an RFC 3339 time, a position, or "5m ago"`}
	}
	from, to, after := q.From, q.To, domain.Key{}
	if to == "" {
		to = "now"
	}
	if q.Namespace != "" {
		if err := domain.ValidateLabel("ns", q.Namespace); err != nil {
			return d, err
		}
	}
	limit, err := ParseNumber("limit", q.Limit, MaxPage, 1, MaxPage)
	if err != nil {
		return d, err
	}
	if q.Cursor != "" {
		if from, to, after, err = parseDiffCursor(q.Cursor); err != nil {
			return d, err
		}
	}
	if err := s.historyUpToDate(ctx); err != nil {
		return d, err
	}
	begin, end, err := s.moments(ctx, from, to)
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
	later, err := s.Past.At(ctx, end.Position)
	if err != nil {
		return d, err
	}
	d.From, d.To = begin.place(s.Timelines()), end.place(s.Timelines())
	c := comparison{service: s, namespace: q.Namespace, at: end.Position, after: after, limit: int(limit)}
	last, more, err := c.difference(ctx, before, later)
	if more {
		d.Next = diffCursor(d.From.Position, d.To.Position, last)
	}
	d.Difference = c.found
	return d, err
}

// A cursor names both positions and the last instance that the page has looked at.
func diffCursor(from, to wire.Position, last domain.Key) string {
	return base64.RawURLEncoding.EncodeToString([]byte(from.String() + " " + to.String() + " " + last.String()))
}

func parseDiffCursor(text string) (from, to string, last domain.Key, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	parts := strings.SplitN(string(b), " ", 3)
	if err == nil && len(parts) == 3 {
		key := strings.SplitN(parts[2], "/", 3)
		_, errFrom := wire.ParsePosition("cursor", parts[0])
		_, errTo := wire.ParsePosition("cursor", parts[1])
		if len(key) == 3 && errFrom == nil && errTo == nil {
			return parts[0], parts[1], domain.Key{Namespace: key[0], Service: key[1], ID: key[2]}, nil
		}
	}
	return "", "", last, domain.InvalidField{Field: "cursor", Rule: "must be one that a page gave as next"}
}

// comparison is the making of a page.
type comparison struct {
	service   *Service
	namespace string              // "": every one
	at        eventstore.Position // of the later catalog
	after     domain.Key          // the page has what comes after this instance
	limit     int
	found     wire.Difference
}

// difference compares two catalogs. It gives the last instance in the page, and whether there are more changes.
func (c *comparison) difference(ctx context.Context, from, to *catalog.Catalog) (last domain.Key, more bool, err error) {
	c.found = wire.Difference{Added: []wire.InstanceChange{}, Removed: []wire.InstanceChange{}, Changed: []wire.InstanceChange{}}
	begin := domain.ServiceKey{Namespace: c.after.Namespace, Service: c.after.Service}
	for _, service := range union(from.Services(c.namespace), to.Services(c.namespace)) {
		if catalog.ByName(service, begin) < 0 {
			continue
		}
		before, after := byID(from.View(service)), byID(to.View(service))
		for _, id := range unionIDs(from.View(service), to.View(service)) {
			a, b := before[id], after[id]
			if a != nil && b != nil && a.Epoch() == b.Epoch() && a.Events() == b.Events() || service == begin && id <= c.after.ID {
				continue
			}
			if c.limit == 0 {
				return last, true, nil
			}
			c.limit--
			last = domain.Key{Namespace: service.Namespace, Service: service.Service, ID: id}
			if err := c.add(ctx, last, a, b); err != nil {
				return last, false, err
			}
		}
	}
	return last, false, nil
}

func (c *comparison) add(ctx context.Context, key domain.Key, a, b *catalog.Entry) error {
	change := wire.InstanceChange{Namespace: key.Namespace, Service: key.Service, ID: key.ID}
	if err := explain(ctx, &change, a, b, c.service.Timelines(), c.at, c.service.History); err != nil {
		return err
	}
	switch {
	case a == nil:
		c.found.Added = append(c.found.Added, change)
	case b == nil:
		c.found.Removed = append(c.found.Removed, change)
	default:
		c.found.Changed = append(c.found.Changed, change)
	}
	return nil
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
	entry := ShowEntry(timelines, noSecrets.entry(&page.Entries[0]))
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
