// Package queries answers what people and programs ask, from the projections alone.
package queries

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// InstanceFilter picks instances of a service. The zero filter picks all.
type InstanceFilter struct {
	Statuses []domain.Status   // any of them; none: every status
	Tags     []string          // all of them
	Zone     string            // "": every zone
	Version  string            // "": every version
	Metadata map[string]string // all of these pairs
	Ready    bool              // only those that may get traffic
}

// narrow says whether the filter looks at more than readiness.
func (f InstanceFilter) narrow() bool {
	return len(f.Statuses)+len(f.Tags)+len(f.Metadata) > 0 || f.Zone != "" || f.Version != ""
}

func (f InstanceFilter) match(e *catalog.Entry) bool {
	if f.Ready && !e.Ready() || len(f.Statuses) > 0 && !slices.Contains(f.Statuses, e.Status()) {
		return false
	}
	if len(f.Tags)+len(f.Metadata) == 0 && f.Zone == "" && f.Version == "" {
		return true
	}
	d := e.Details()
	if f.Zone != "" && d.Zone != f.Zone || f.Version != "" && d.Version != f.Version {
		return false
	}
	for _, tag := range f.Tags {
		if !slices.Contains(d.Tags, tag) {
			return false
		}
	}
	for key, value := range f.Metadata {
		if got, ok := d.Metadata[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// Instances gives a service's instances in JSON. Without a filter, and for the ready ones, the
// answer was encoded when the service last changed. A lease table, where one is given, adds each
// lease's end, which changes with every heartbeat and so is never kept.
func Instances(view *catalog.View, filter InstanceFilter, table *leases.Table) catalog.Encoded {
	if table == nil && !filter.narrow() {
		if filter.Ready {
			return view.EncodeReady()
		}
		return view.Encode()
	}
	var picked []catalog.Instance
	for _, e := range view.Entries {
		if filter.match(e) {
			picked = append(picked, Show(e, table))
		}
	}
	return catalog.EncodeList(view.Service, view.Position, picked)
}

// Show is an entry's form for people and programs, with the end of its lease where a table is given.
func Show(e *catalog.Entry, table *leases.Table) catalog.Instance {
	i := e.Show()
	if table == nil {
		return i
	}
	if l, ok := table.Find(e.Key()); ok {
		until := l.Deadline.UTC().Round(0)
		i.LeaseExpiresAt = &until
	}
	return i
}
