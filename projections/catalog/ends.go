package catalog

import (
	"sync"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// ends has the positions at which services of each namespace lost their last instances: these services are not in the catalog, and what is
// told of their namespace must not be older. The memory is bounded: where there are too many namespaces, the newest end of any of
// them stands for those of all.
type ends struct {
	mu     sync.Mutex
	newest map[string]eventstore.Position // by namespace
	atMost eventstore.Position            // no end of another namespace is later
}

const maxEnds = 4096 // namespaces

func (e *ends) note(namespace string, at eventstore.Position) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.newest == nil || len(e.newest) >= maxEnds && e.newest[namespace] == 0 {
		for _, end := range e.newest {
			e.atMost = max(e.atMost, end)
		}
		e.newest = map[string]eventstore.Position{}
	}
	e.newest[namespace] = at
}

func (e *ends) notAfter(at eventstore.Position) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.atMost = max(e.atMost, at)
}

// EndedIn is the newest position at which a service of a namespace lost its last instance; 0: none did. It may be a later position, and it
// never falls.
func (c *Catalog) EndedIn(namespace string) eventstore.Position {
	c.ends.mu.Lock()
	defer c.ends.mu.Unlock()
	return max(c.ends.newest[namespace], c.ends.atMost)
}
