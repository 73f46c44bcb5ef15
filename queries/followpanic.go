package queries

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Panics are all services that panic now, of those that a follower follows. A follower is told when they change. One that
// asks for ready instances then begins anew with a reset, which has all instances of these services.
type Panics struct {
	At    eventstore.Position
	Panic wire.Panics
}

func (Panics) update() {}

// toldPanics are services that panic, as somebody was told.
type toldPanics map[domain.ServiceKey]wire.Panic

// text tells panics from others, for what is given at a position depends on them, too; "": none does.
func (t toldPanics) text() string {
	if len(t) == 0 {
		return ""
	}
	return fmt.Sprint(map[domain.ServiceKey]wire.Panic(t)) // in the order of the keys
}

// panics is what a follower knows of panics.
type panics struct {
	touched uint64     // live.State.Touched at the last look at all services
	unsure  bool       // the follower may have been told anything
	told    toldPanics // nil: none was told
}

// beginPanics is called before the follower looks at anything.
func (f *Following) beginPanics() { f.panics.touched = f.service.Live.Touched() }

// resumes says whether the follower can go on after a position. One that asks for ready instances cannot where services
// panicked since: which instances it has depends on what panicked then.
func (f *Following) resumes() bool {
	f.panics.unsure = !f.service.Live.Thresholds().None()
	return !f.panics.unsure || !f.query.Filter.Ready
}

// given is the follower's filter for the instances of a service, as the follower was told of its panic.
func (f *Following) given(key domain.ServiceKey) InstanceFilter {
	filter := f.query.Filter
	if _, panics := f.panics.told[key]; panics {
		filter.Ready = false
	}
	return filter
}

// tellPanics says whether the follower must be told of panics: of services that changed, or where policies changed of any.
func (f *Following) tellPanics(changes []*feed.Change) bool {
	p := &f.panics
	if f.service.Live.Thresholds().None() {
		return false
	}
	if touched := f.service.Live.Touched(); p.unsure || touched != p.touched {
		p.touched = touched
		now := f.panicsNow()
		if !p.unsure && samePanics(now, p.told) {
			return false
		}
		p.told, p.unsure = now, false
		return true
	}
	changed := false
	for _, c := range changes {
		if !f.follows(c.Service) {
			continue
		}
		before, was := p.told[c.Service]
		now := f.service.Panic(f.service.Live.Catalog().View(c.Service))
		if was == (now != nil) && (!was || samePanic(before, *now)) {
			continue
		}
		changed = true
		p.told = maps.Clone(p.told)
		if now == nil {
			delete(p.told, c.Service)
			continue
		}
		if p.told == nil {
			p.told = toldPanics{}
		}
		p.told[c.Service] = *now
	}
	return changed
}

// panicsNow are the services that panic now, of those that the follower follows.
func (f *Following) panicsNow() toldPanics {
	keys := f.query.keys()
	if keys[0] == (domain.ServiceKey{}) {
		keys = f.service.Live.Catalog().Services(f.query.Namespace)
	}
	var views []*catalog.View
	for _, key := range keys {
		if f.follows(key) {
			views = append(views, f.service.Live.Catalog().View(key))
		}
	}
	return f.service.panicsIn(views)
}

// panicsIn are the views' services that panic; nil: none does.
func (s *Service) panicsIn(views []*catalog.View) (all toldPanics) {
	for _, v := range views {
		if p := s.Panic(v); p != nil {
			if all == nil {
				all = toldPanics{}
			}
			all[v.Service] = *p
		}
	}
	return all
}

// given is the filter by which the instances of a view are given, and the panic of its service.
func (t toldPanics) given(filter InstanceFilter) func(*catalog.View) (InstanceFilter, *wire.Panic) {
	return func(v *catalog.View) (InstanceFilter, *wire.Panic) {
		p, panics := t[v.Service]
		if !panics {
			return filter, nil
		}
		filter := filter
		filter.Ready = false
		return filter, &p
	}
}

// samePanic says whether two panics of a service differ in their numbers at most: a follower counts by itself.
func samePanic(a, b wire.Panic) bool { return a.Policy == b.Policy && a.Threshold == b.Threshold }

func samePanics(a, b toldPanics) bool { return maps.EqualFunc(a, b, samePanic) }

// listPanics are the services of which the follower is told, in order of their names, with the numbers of now.
func (f *Following) listPanics() []wire.ServicePanic {
	all := []wire.ServicePanic{}
	for _, key := range slices.SortedFunc(maps.Keys(f.panics.told), catalog.ByName) {
		told := f.panics.told[key]
		if now := f.service.Panic(f.service.Live.Catalog().View(key)); now != nil && samePanic(*now, told) {
			told = *now
		}
		all = append(all, wire.ServicePanic{Namespace: key.Namespace, Service: key.Service, Panic: told})
	}
	return all
}

// panic tells of the panics. A follower that asks for ready instances begins anew after that.
func (f *Following) panic(context.Context) (Update, error) {
	f.next = f.live
	if f.query.Filter.Ready {
		f.next = func(ctx context.Context) (Update, error) { return f.snapshot(ctx, true) }
	}
	return Panics{At: f.at, Panic: wire.Panics{Services: f.listPanics()}}, nil
}
