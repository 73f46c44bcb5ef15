package queries

import (
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Visible says which services a caller may see. A nil Visible shows everything, and replies are then shared. It may be
// called from any goroutine, also after the query.
type Visible func(domain.ServiceKey) bool

// stream says whether the caller may see the events of a stream. Streams of no instance are for callers without limits.
func (v Visible) stream(name eventstore.StreamName) bool {
	if v == nil {
		return true
	}
	key, ok := name.InstanceKey()
	return ok && v(domain.ServiceKey{Namespace: key.Namespace, Service: key.Service})
}

// views leaves out the views that the caller may not see.
func (v Visible) views(all []*catalog.View) (seen []*catalog.View) {
	if v == nil {
		return all
	}
	for _, view := range all {
		if v(view.Service) {
			seen = append(seen, view)
		}
	}
	return seen
}

// summaries leaves out the services that the caller may not see.
func (v Visible) summaries(all []wire.ServiceSummary) []wire.ServiceSummary {
	if v == nil {
		return all
	}
	seen := []wire.ServiceSummary{}
	for _, s := range all {
		if v(domain.ServiceKey{Namespace: s.Namespace, Service: s.Service}) {
			seen = append(seen, s)
		}
	}
	return seen
}

// held leaves out the namespaces of which the caller sees no service.
func (v Visible) held(all map[string]wire.ExpiryHeld, seen []wire.ServiceSummary) map[string]wire.ExpiryHeld {
	if v == nil {
		return all
	}
	of := map[string]wire.ExpiryHeld{}
	for _, s := range seen {
		if h, ok := all[s.Namespace]; ok {
			of[s.Namespace] = h
		}
	}
	return of
}
