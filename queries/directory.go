package queries

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Directory finds the live services by names in which case does not count, as DNS asks for them. Services of a namespace
// whose names differ in case only are found together.
type Directory struct {
	service *Service
	list    atomic.Pointer[listing]
	listing sync.Mutex // held to make a new list
}

// listing is the services of a catalog at one moment, by namespace and lower-case name.
type listing struct {
	of       *catalog.Catalog
	listed   uint64 // see catalog.Catalog
	services map[domain.ServiceKey]*listed
	names    map[string][]string // by namespace, in order
}

// listed is what one name in lower case stands for.
type listed struct {
	keys  []domain.ServiceKey
	group atomic.Pointer[Group] // the newest one
}

// Group is the instances of a name at one moment. A Group never changes.
type Group struct {
	views  []*catalog.View
	panics []*wire.Panic // of each view's service; nil: it does not panic
	values sync.Map      // what faces made of the group, by their names: of type func() any
}

// Directory is the directory of the live catalog.
func (s *Service) Directory() *Directory { return &Directory{service: s} }

// Find is the group of a name in lower case, as it is now; nil: no service has instances under that name.
func (d *Directory) Find(namespace, name string) *Group {
	l := d.current()
	found := l.services[domain.ServiceKey{Namespace: namespace, Service: name}]
	if found == nil {
		return nil
	}
	last := found.group.Load()
	if last != nil && last.current(l.of, found.keys) {
		return last
	}
	group := &Group{views: make([]*catalog.View, len(found.keys)), panics: make([]*wire.Panic, len(found.keys))}
	size := 0
	for i, key := range found.keys {
		group.views[i] = l.of.View(key)
		group.panics[i] = d.service.Panic(group.views[i])
		size += len(group.views[i].Entries)
	}
	if size == 0 {
		return nil
	}
	if !found.group.CompareAndSwap(last, group) {
		if newer := found.group.Load(); newer.current(l.of, found.keys) {
			return newer // what another caller makes of the group is made once
		}
	}
	return group
}

// HasNamespace says whether a namespace has services.
func (d *Directory) HasNamespace(namespace string) bool { return d.current().names[namespace] != nil }

// Names yields the names in lower case of a namespace's services, in order.
func (d *Directory) Names(namespace string) iter.Seq[string] {
	return slices.Values(d.current().names[namespace])
}

// All yields every live instance, in no order.
func (d *Directory) All(yield func(wire.Instance) bool) {
	for entry := range d.service.Live.Catalog().All {
		if !yield(Show(entry, nil)) {
			return
		}
	}
}

// current is the list of the services that are live now.
func (d *Directory) current() *listing {
	live := d.service.Live.Catalog()
	if l := d.list.Load(); l != nil && l.of == live && l.listed == live.Listed() {
		return l
	}
	d.listing.Lock()
	defer d.listing.Unlock()
	l := &listing{of: live, listed: live.Listed(), services: map[domain.ServiceKey]*listed{}, names: map[string][]string{}}
	old := d.list.Load()
	if old != nil && old.of == live && old.listed == l.listed {
		return old
	}
	for _, key := range live.Services("") {
		lower := domain.ServiceKey{Namespace: key.Namespace, Service: strings.ToLower(key.Service)}
		if l.services[lower] == nil {
			l.services[lower] = new(listed)
			l.names[key.Namespace] = append(l.names[key.Namespace], lower.Service)
		}
		l.services[lower].keys = append(l.services[lower].keys, key)
	}
	for _, names := range l.names {
		slices.Sort(names)
	}
	if old != nil && old.of == live {
		for lower, now := range l.services { // what was made of a group stays, though other services came or went
			if before := old.services[lower]; before != nil && slices.Equal(before.keys, now.keys) {
				l.services[lower] = before
			}
		}
	}
	d.list.Store(l)
	return l
}

func (g *Group) current(live *catalog.Catalog, keys []domain.ServiceKey) bool {
	return len(g.views) == len(keys) && !slices.ContainsFunc(g.views, func(v *catalog.View) bool { return live.View(v.Service) != v })
}

// Services yields the services of the group.
func (g *Group) Services(yield func(domain.ServiceKey) bool) {
	for _, view := range g.views {
		if !yield(view.Service) {
			return
		}
	}
}

// Only is the group without the services that may refuses; nil: no instance is left. What faces make of it is kept with the group.
func (g *Group) Only(may func(domain.ServiceKey) bool) *Group {
	refused := func(v *catalog.View) bool { return !may(v.Service) }
	if !slices.ContainsFunc(g.views, refused) {
		return g
	}
	part := &Group{}
	var name strings.Builder
	name.WriteString("only")
	size := 0
	for i, view := range g.views {
		if !refused(view) {
			part.views, part.panics = append(part.views, view), append(part.panics, g.panics[i])
			size += len(view.Entries)
			name.WriteString(" " + view.Service.Service)
		}
	}
	if size == 0 {
		return nil
	}
	return g.Value(name.String(), func() any { return part }).(*Group)
}

// Instances are the group's, in order of their services' names and their ids.
func (g *Group) Instances() []wire.Instance {
	var all []wire.Instance
	for shown := range g.Placed {
		all = append(all, shown)
	}
	return all
}

// Position is the position of the newest change to the group.
func (g *Group) Position() (newest eventstore.Position) {
	for _, view := range g.views {
		newest = max(newest, view.Position)
	}
	return newest
}

// Place is where an instance stands in the log.
type Place struct {
	Began   eventstore.Position // of the registration that began its epoch
	Changed eventstore.Position // of the newest change to it
}

// PlaceOf is where the instance of an entry stands in the log.
func PlaceOf(e *catalog.Entry) Place { return Place{e.Began(), e.Position} }

// Placed yields the group's instances, each with its place, in order of their services' names and their ids.
func (g *Group) Placed(yield func(wire.Instance, Place) bool) {
	for i, view := range g.views {
		for _, entry := range view.Entries {
			shown := Show(entry, nil)
			shown.Panic = g.panics[i] != nil
			if !yield(shown, PlaceOf(entry)) {
				return
			}
		}
	}
}

// Panics are the services of the group that panic, in order of their names.
func (g *Group) Panics() (all []wire.ServicePanic) {
	for i, p := range g.panics {
		if p != nil {
			all = append(all, wire.ServicePanic{Namespace: g.views[i].Service.Namespace, Service: g.views[i].Service.Service, Panic: *p})
		}
	}
	return all
}

// Value is what the first call's make gave for that name, for all calls. A face keeps with it what it makes of the group.
// REQUIRES: there are few names.
func (g *Group) Value(name string, make func() any) any {
	made, ok := g.values.Load(name)
	if !ok {
		made, _ = g.values.LoadOrStore(name, sync.OnceValue(make))
	}
	return made.(func() any)()
}
