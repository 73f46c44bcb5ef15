package catalog

import (
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
)

// watches wakes who waits for a service to change.
type watches struct {
	count     atomic.Int64 // of watchers: nobody pays for them where there are none
	mu        sync.Mutex
	byService map[domain.ServiceKey]map[chan struct{}]struct{}
}

// Watch tells of changes to a service, or with the zero key to any: the channel holds a token when
// there was one since it was last received from. Several changes may be told of as one. Call stop
// when done.
func (c *Catalog) Watch(key domain.ServiceKey) (changed <-chan struct{}, stop func()) {
	w := &c.watches
	ch := make(chan struct{}, 1)
	w.count.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byService == nil {
		w.byService = make(map[domain.ServiceKey]map[chan struct{}]struct{})
	}
	if w.byService[key] == nil {
		w.byService[key] = make(map[chan struct{}]struct{})
	}
	w.byService[key][ch] = struct{}{}
	return ch, func() {
		w.count.Add(-1)
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.byService[key], ch); len(w.byService[key]) == 0 {
			delete(w.byService, key)
		}
	}
}

func (w *watches) tell(key domain.ServiceKey) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range [2]domain.ServiceKey{key, {}} {
		for ch := range w.byService[k] {
			select {
			case ch <- struct{}{}:
			default: // it has been told already, and has not looked yet
			}
		}
	}
}
