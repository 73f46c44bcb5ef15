package queries

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A service panics when a smaller share of its instances is ready than a policy asks for (panic_threshold). Few instances
// that get the traffic of all would fail, too, and what says that they are not ready may be wrong. So whoever asks for ready
// instances gets all of them then. This file decides it for every face.

// Panic says that a service panics, and by which policy; nil: it does not. Only a view of the live catalog does.
//
// INVARIANT: a change of policies gives the service another view (live.Thresholds). So all that is remembered of a view may
// depend on Panic.
func (s *Service) Panic(view *catalog.View) *wire.Panic {
	thresholds := s.Live.Thresholds()
	if thresholds.None() || len(view.Entries) == 0 {
		return nil
	}
	p := view.Panics(func(ready, total int) domain.Panic {
		return domain.Panic{Policy: thresholds.Panic(view.Service, ready, total), Ready: ready, Total: total}
	})
	if p.Policy == nil {
		return nil
	}
	return &wire.Panic{Policy: p.Policy.Name, Threshold: string(p.Policy.PanicThreshold), Ready: p.Ready, Instances: p.Total}
}

// given is the filter by which a view's instances are given: one for ready instances picks all of a service that panics.
func (s *Service) given(view *catalog.View, filter InstanceFilter) (InstanceFilter, *wire.Panic) {
	p := s.Panic(view)
	if p != nil {
		filter.Ready = false
	}
	return filter, p
}

// given is Service.given for the catalog: services panic in the live catalog only.
func (c *Catalog) given(view *catalog.View, filter InstanceFilter) (InstanceFilter, *wire.Panic) {
	if !c.Live {
		return filter, nil
	}
	return c.service.given(c.whole(view), filter)
}

// givenBy is given for a filter.
func (c *Catalog) givenBy(filter InstanceFilter) func(*catalog.View) (InstanceFilter, *wire.Panic) {
	return func(v *catalog.View) (InstanceFilter, *wire.Panic) { return c.given(v, filter) }
}

// whole is the service of a view that may lack instances of it.
func (c *Catalog) whole(view *catalog.View) *catalog.View {
	if c.service.Live.Thresholds().None() {
		return view
	}
	return c.catalog.View(view.Service)
}

// PanicsOf is the panic of a service: one, or none. In the catalog of a past moment, no service panics.
func (c *Catalog) PanicsOf(key domain.ServiceKey) []wire.ServicePanic {
	if !c.Live {
		return nil
	}
	return c.service.panicsOf([]domain.ServiceKey{key})
}

// Panics are the services of a namespace ("": of all) with a name ("": with any) that panic now, in order of their names, as
// far as the caller sees them.
func (c *Catalog) Panics(namespace, service string) []wire.ServicePanic {
	if !c.Live || c.service.Live.Thresholds().None() {
		return nil
	}
	keys := slices.DeleteFunc(slices.Clone(c.catalog.Services(namespace)), func(key domain.ServiceKey) bool {
		return service != "" && key.Service != service || c.Visible != nil && !c.Visible(key)
	})
	return c.service.panicsOf(keys)
}

// Panics are all services that panic now, in order of their names.
func (s *Service) Panics() []wire.ServicePanic {
	if s.Live.Thresholds().None() {
		return nil
	}
	return s.panicsOf(s.Live.Catalog().Services(""))
}

func (s *Service) panicsOf(keys []domain.ServiceKey) (all []wire.ServicePanic) {
	for _, key := range keys {
		if p := s.Panic(s.Live.Catalog().View(key)); p != nil {
			all = append(all, wire.ServicePanic{Namespace: key.Namespace, Service: key.Service, Panic: *p})
		}
	}
	return all
}

// maxWarned is how many services, or policies, a warning names at most.
const maxWarned = 10

// PanicNames are the names of the policies by which services panic, as a header has them.
func PanicNames(all []wire.ServicePanic) string {
	var names []string
	for _, p := range all {
		names = append(names, p.Policy)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return strings.Join(names[:min(len(names), maxWarned)], ", ")
}

// PanicWarning says in a line that services panic. REQUIRES: there is one.
func PanicWarning(all []wire.ServicePanic) string {
	var named []string
	for _, p := range all[:min(len(all), maxWarned)] {
		named = append(named, fmt.Sprintf("%d of %d instances of %s/%s are ready, fewer than the %s of policy %s", p.Ready, p.Instances, p.Namespace, p.Service, p.Threshold, p.Policy))
	}
	if more := len(all) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d services more", more))
	}
	return "panic: all instances are given, ready or not: " + strings.Join(named, ", ")
}
