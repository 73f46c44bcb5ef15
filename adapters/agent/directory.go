package agent

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Directory finds the services in the cache by names in which case does not count, as DNS asks for them. Services of a
// namespace whose names differ in case only are found together. It finds every service of the registry, and it goes on with
// what it knows while the registry is away.
type Directory struct {
	catalog *watch.Catalog

	mu         sync.RWMutex
	groups     map[domain.ServiceKey]*Group // by namespace and name in lower case; none is empty
	namespaces map[string]int               // how many groups each has; none has 0
}

// NewDirectory is the directory of a catalog.
func NewDirectory(c *watch.Catalog) *Directory {
	d := &Directory{catalog: c, groups: map[domain.ServiceKey]*Group{}, namespaces: map[string]int{}}
	c.Listen(d.put) // as long as the watcher is there
	return d
}

// put puts the instances of a service into its group, which a new one replaces.
func (d *Directory) put(key domain.ServiceKey, instances []*wire.Instance) {
	lower := domain.ServiceKey{Namespace: key.Namespace, Service: strings.ToLower(key.Service)}
	d.mu.Lock()
	defer d.mu.Unlock()
	group := &Group{}
	before := d.groups[lower]
	if before != nil {
		for _, s := range before.services {
			if s.Key != key {
				group.services = append(group.services, s)
			}
		}
	}
	if len(instances) > 0 {
		group.services = append(group.services, watch.Listed{Key: key, Instances: instances})
		slices.SortFunc(group.services, func(a, b watch.Listed) int { return cmp.Compare(a.Key.Service, b.Key.Service) })
	}
	switch {
	case len(group.services) > 0:
		d.groups[lower] = group
		if before == nil {
			d.namespaces[key.Namespace]++
		}
	case before != nil:
		delete(d.groups, lower)
		if d.namespaces[key.Namespace]--; d.namespaces[key.Namespace] == 0 {
			delete(d.namespaces, key.Namespace)
		}
	}
}

// Find is the group of a name in lower case, as it is now; nil: no service has instances under that name.
func (d *Directory) Find(namespace, name string) *Group {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.groups[domain.ServiceKey{Namespace: namespace, Service: name}]
}

// HasNamespace says whether a namespace has instances.
func (d *Directory) HasNamespace(namespace string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.namespaces[namespace] > 0
}

// All yields every instance, in order of their services' names and their ids.
func (d *Directory) All(yield func(wire.Instance) bool) {
	for _, s := range d.catalog.Services() {
		for _, i := range s.Instances {
			if !yield(*i) {
				return
			}
		}
	}
}

// Ready says why nothing is known, nil if something is.
func (d *Directory) Ready() error {
	if !d.catalog.Known() {
		return errors.New("the registry has not been reached yet, and there is no cache of its catalog")
	}
	return nil
}

// Group is the instances of a name at one moment. A Group never changes.
type Group struct {
	services []watch.Listed
	values   sync.Map // what faces made of the group, by their names: of type func() any
}

// Instances are the group's, in order of their services' names and their ids.
func (g *Group) Instances() []wire.Instance {
	var all []wire.Instance
	for _, s := range g.services {
		for _, i := range s.Instances {
			all = append(all, *i)
		}
	}
	return all
}

// Value is what the first call's make gave for that name, for all calls.
func (g *Group) Value(name string, make func() any) any {
	made, ok := g.values.Load(name)
	if !ok {
		made, _ = g.values.LoadOrStore(name, sync.OnceValue(make))
	}
	return made.(func() any)()
}
