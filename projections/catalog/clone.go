package catalog

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
)

// Clone is a catalog with the same entries, which are immutable and shared. So a clone costs a copy of the index and of the lists
// of the services, which is a small part of what loading a snapshot costs. Events that are applied to either catalog do not change
// the other. REQUIRES: nobody applies events to the catalog meanwhile.
func (c *Catalog) Clone() *Catalog {
	clone := &Catalog{seed: c.seed, index: c.index.clone(), foreign: true}
	for i := range c.shards {
		from, to := &c.shards[i], &clone.shards[i]
		from.mu.RLock()
		to.services = make(map[domain.ServiceKey]*service, len(from.services))
		for key, s := range from.services {
			s.mu.Lock()
			to.services[key] = &service{key: s.key, entries: slices.Clone(s.entries), last: s.last}
			s.mu.Unlock()
		}
		from.mu.RUnlock()
	}
	clone.instances.Store(c.instances.Load())
	clone.changed.Store(c.changed.Load())
	clone.described.Store(c.described.Load())
	clone.listed.Store(c.listed.Load())
	clone.listedAt.Store(c.listedAt.Load())
	return clone
}

func (x *index) clone() *index {
	clone := &index{seed: x.seed}
	for i := range x.shards {
		from, to := &x.shards[i], &clone.shards[i]
		slots := slices.Clone(*from.slots.Load())
		to.slots.Store(&slots)
		to.live, to.used = from.live, from.used
	}
	return clone
}
