// Package queries answers what people and programs ask, from the projections alone.
package queries

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries/wire"
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
// answer is encoded once for all who ask between two changes. A lease table, where one is given, adds
// each lease's end, which changes with every heartbeat and so is never kept.
func Instances(view *catalog.View, filter InstanceFilter, table *leases.Table) encoded.Form {
	if table == nil && !filter.narrow() {
		if filter.Ready {
			return view.Forms.Get(formatReady, func() encoded.Form { return list(view, showAll(view.Ready())) })
		}
		return view.Forms.Get(formatAll, func() encoded.Form { return list(view, showAll(view.Entries)) })
	}
	return list(view, Pick(view, filter, table))
}

// Pick shows the instances that a filter picks.
func Pick(view *catalog.View, filter InstanceFilter, table *leases.Table) []wire.Instance {
	picked := []wire.Instance{}
	for _, e := range view.Entries {
		if filter.match(e) {
			picked = append(picked, Show(e, table))
		}
	}
	return picked
}
