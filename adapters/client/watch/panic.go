package watch

import (
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// The registry says which services panic: too few of their instances are ready, so that all are to get traffic. The Watcher
// then gives copies of the instances that are not ready with the mark Panic (wire.Instance.Given).

// panicking takes what a stream tells: which of the services that it was asked for panic. REQUIRES: the caller holds mu.
func (w *Watcher) panicking(followed []domain.ServiceKey, all bool, told []wire.ServicePanic) {
	if all {
		clear(w.panics)
	}
	for _, key := range followed {
		delete(w.panics, key)
	}
	for _, p := range told {
		w.panics[domain.ServiceKey{Namespace: p.Namespace, Service: p.Service}] = &p.Panic
	}
}

// remark gives the services whose panic began or ended with other marks. REQUIRES: the caller holds mu.
func (w *Watcher) remark() {
	for _, s := range w.services {
		p := s.instances.Load()
		if p == nil || !s.followed {
			continue
		}
		if marked := w.marked(s.key, *p); len(marked) > 0 && &marked[0] != &(*p)[0] {
			w.set(s, marked)
		}
	}
}

// marked are instances of a service with the marks that they must have: the same slice if they have them. REQUIRES: the
// caller holds mu.
func (w *Watcher) marked(key domain.ServiceKey, instances []*wire.Instance) []*wire.Instance {
	panics := w.panics[key] != nil
	wrong := func(i *wire.Instance) bool { return i.Panic != (panics && !i.Ready()) }
	if !slices.ContainsFunc(instances, wrong) {
		return instances
	}
	instances = slices.Clone(instances)
	for n, i := range instances {
		if wrong(i) {
			other := *i
			other.Panic = !i.Panic
			instances[n] = &other
		}
	}
	return instances
}

// Panic says that the service panics, as the registry said; nil: it does not.
func (s *Service) Panic() *wire.Panic { return s.w.panicOf(s.of.key) }

// Panic says that a service panics, as the registry said; nil: it does not.
func (c *Catalog) Panic(key domain.ServiceKey) *wire.Panic { return c.w.panicOf(key) }

func (w *Watcher) panicOf(key domain.ServiceKey) *wire.Panic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.panics[key]
}
