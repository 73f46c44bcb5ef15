package watch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Catalog is all services of all namespaces, as far as the client's token may read them.
type Catalog struct{ w *Watcher }

// whole is what a Watcher that watches the catalog knows beside its services. It belongs to the Watcher's mu.
type whole struct {
	told      bool          // a stream has told of the whole catalog
	at        time.Time     // until then: when what the cache has was right
	known     chan struct{} // closed when the catalog is known, from the registry or from the cache
	listeners map[*func(domain.ServiceKey, []*wire.Instance)]struct{}
}

// Catalog has the Watcher watch all services from now on, with one stream.
func (w *Watcher) Catalog() *Catalog {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.whole != nil {
		return &Catalog{w}
	}
	w.whole = &whole{known: make(chan struct{}), listeners: map[*func(domain.ServiceKey, []*wire.Instance)]struct{}{}}
	if !w.cachedAll.IsZero() {
		for key, c := range w.cached {
			s := w.entry(key)
			s.at = c.at
			w.set(s, c.instances)
		}
		for _, s := range w.services {
			if s.instances.Load() == nil { // the cache has every service that had instances
				s.at = w.cachedAll
				w.set(s, nil)
			}
		}
		clear(w.cached)
		w.whole.at = w.cachedAll
		close(w.whole.known)
	}
	signal(w.grown)
	return &Catalog{w}
}

// entry is what is known of a service, made if there is nothing yet. REQUIRES: the caller holds mu.
func (w *Watcher) entry(key domain.ServiceKey) *service {
	s := w.services[key]
	if s == nil {
		s = &service{key: key, known: make(chan struct{}), listeners: map[*func([]*wire.Instance)]struct{}{}}
		w.services[key] = s
	}
	return s
}

// prune forgets a service without instances that nobody watches by its name, where the whole catalog is watched: without
// it, too, the service is known to have none. REQUIRES: the caller holds mu.
func (w *Watcher) prune(s *service) {
	p := s.instances.Load()
	if w.whole != nil && s.handles == 0 && (p == nil || len(*p) == 0) {
		delete(w.services, s.key)
	}
}

// replaceAll takes a snapshot of the whole catalog. REQUIRES: the caller holds mu.
func (w *Watcher) replaceAll(byService map[domain.ServiceKey][]*wire.Instance) {
	for key := range byService {
		w.entry(key)
	}
	for key, s := range w.services {
		s.told, s.followed = true, true
		w.set(s, sorted(byService[key]))
		w.prune(s)
	}
	clear(w.cached)
	if !w.whole.told && w.whole.at.IsZero() {
		close(w.whole.known)
	}
	w.whole.told = true
}

func sorted(instances []*wire.Instance) []*wire.Instance {
	slices.SortFunc(instances, func(a, b *wire.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return instances
}

// Known says whether the catalog is known: from the registry, or from the cache.
func (c *Catalog) Known() bool {
	select {
	case <-c.w.whole.known:
		return true
	default:
		return false
	}
}

// Wait waits until the catalog is known.
func (c *Catalog) Wait(ctx context.Context) error {
	select {
	case <-c.w.whole.known:
		return nil
	case <-ctx.Done():
		return cmp.Or(c.w.State().Err, context.Cause(ctx))
	}
}

// State is how current the catalog is.
func (c *Catalog) State() State {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	state := c.w.state()
	state.At = c.w.wholeAt()
	return state
}

// wholeAt is when the whole catalog was right; zero: it is not known. REQUIRES: the caller holds mu.
func (w *Watcher) wholeAt() time.Time {
	switch {
	case w.whole == nil:
		return w.cachedAll
	case w.whole.told:
		return w.state().At
	}
	return w.whole.at
}

// Listed is a service with instances.
type Listed struct {
	Key       domain.ServiceKey
	Instances []*wire.Instance // sorted by id; the caller must not change them
	Panic     *wire.Panic      // the service panics, as the registry said; nil: it does not
}

// Services are the services that have instances, in order of their namespaces and names.
func (c *Catalog) Services() []Listed {
	c.w.mu.Lock()
	all := make([]Listed, 0, len(c.w.services))
	for key, s := range c.w.services {
		if p := s.instances.Load(); p != nil && len(*p) > 0 {
			all = append(all, Listed{key, *p, c.w.panics[key]})
		}
	}
	c.w.mu.Unlock()
	slices.SortFunc(all, func(a, b Listed) int {
		return cmp.Or(cmp.Compare(a.Key.Namespace, b.Key.Namespace), cmp.Compare(a.Key.Service, b.Key.Service))
	})
	return all
}

// Instances are all instances of a service, ready or not, sorted by id. The caller must not change them. A service that is
// not in the catalog has none.
func (c *Catalog) Instances(key domain.ServiceKey) []*wire.Instance {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if s := c.w.services[key]; s != nil {
		if p := s.instances.Load(); p != nil {
			return *p
		}
	}
	return nil
}

// Listen calls a function with the instances of each service that has any: at once, and after each change, in order. The
// function must not block and must not call the Watcher. stop ends that.
func (c *Catalog) Listen(changed func(domain.ServiceKey, []*wire.Instance)) (stop func()) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.whole.listeners[&changed] = struct{}{}
	for key, s := range c.w.services {
		if p := s.instances.Load(); p != nil && len(*p) > 0 {
			changed(key, *p)
		}
	}
	return func() {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		delete(c.w.whole.listeners, &changed)
	}
}
