package catalog

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
)

// ids finds the services that have, or had, an instance of an id. A catalog has it from the first question on, since only
// faces whose clients name instances by ids alone ask.
//
// INVARIANT: when the catalog has applied the event with which an instance began, the instance is in ids. What has ended stays
// until there is more of that than of what is live.
type ids struct {
	whole atomic.Bool // the instances that began before ids have been added

	mu       sync.Mutex
	services map[string][]domain.ServiceKey // by id
	size     int
}

func (i *ids) add(id string, service domain.ServiceKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := i.services[id]
	for _, s := range known {
		if s == service {
			return
		}
	}
	if known == nil {
		id = strings.Clone(id) // the entry's memory holds all of the registration
	}
	i.services[id] = append(known, service)
	i.size++
}

// spareIDs is how many ids of instances that have ended are kept at least.
const spareIDs = 10_000

// ByID finds the live instances that have an id, in any service.
func (c *Catalog) ByID(id string) (entries []*Entry) {
	known := c.ids.Load()
	if known == nil || !known.whole.Load() || known.crowded(c.Len()) {
		known = c.collectIDs()
	}
	known.mu.Lock()
	services := known.services[id]
	known.mu.Unlock()
	for _, s := range services { // nobody changes a part of the slice that was read
		if e := c.Find(domain.Key{Namespace: s.Namespace, Service: s.Service, ID: id}); e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}

func (i *ids) crowded(live int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.size > 2*live+spareIDs
}

// collectIDs collects the ids anew.
//
// INVARIANT: an instance that begins meanwhile is added by put, which asks for the ids after the instance is in the list of its
// service, or is found in that list, which is read after the ids are there to be asked for.
func (c *Catalog) collectIDs() *ids {
	c.collecting.Lock()
	defer c.collecting.Unlock()
	if known := c.ids.Load(); known != nil && !known.crowded(c.Len()) {
		return known
	}
	known := &ids{services: make(map[string][]domain.ServiceKey, c.Len())}
	c.ids.Store(known)
	for e := range c.All {
		known.add(e.ID(), e.Service())
	}
	known.whole.Store(true)
	return known
}
