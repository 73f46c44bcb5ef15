package watch

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// run follows the services until the context ends: with one stream, and with another when services were added.
func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	var writing sync.WaitGroup
	if w.options.Cache != "" {
		writing.Go(func() { w.keepCache(ctx) })
	}
	defer writing.Wait()
	for ctx.Err() == nil {
		keys, all := w.begin()
		if len(keys) == 0 && !all {
			wait(ctx, w.grown, time.Hour)
			continue
		}
		w.follow(ctx, keys, all)
	}
}

// wait waits for a token, the end of the context, or some time.
func wait(ctx context.Context, token <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-token:
	case <-timer.C:
	}
}

// begin gives the services that the next stream is to tell of, or all.
func (w *Watcher) begin() (keys []domain.ServiceKey, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.grown:
	default:
	}
	if w.whole != nil {
		return nil, true
	}
	for key, s := range w.services {
		s.followed = true
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b domain.ServiceKey) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service))
	})
	return keys, false
}

// follow follows some services, or all, until the context ends, services were added, or the registry refuses the stream.
func (w *Watcher) follow(ctx context.Context, keys []domain.ServiceKey, all bool) {
	ctx, cancel := context.WithCancel(ctx)
	var growing sync.WaitGroup
	growing.Go(func() {
		select {
		case <-ctx.Done():
		case <-w.grown:
			wait(ctx, nil, gather)
			cancel()
		}
	})
	defer growing.Wait()
	defer cancel()
	query := client.FollowQuery{
		Services: keys, KeepTrying: true, Lost: w.lost,
		Heard:   func() { w.heard.Store(int64(time.Since(w.began))) },
		Current: w.current,
	}
	for u, err := range w.client.Follow(ctx, query) {
		if err != nil {
			w.lost(err)
			wait(ctx, nil, refusedWait)
			return
		}
		w.apply(keys, all, &u)
	}
}

// lost notes that the stream is not up.
func (w *Watcher) lost(err error) {
	w.mu.Lock()
	if w.live {
		w.at = w.heardAt()
	}
	w.live, w.err = false, err
	state := w.state()
	w.mu.Unlock()
	w.report(state)
}

// current notes that the stream is up again, and the registry has nothing to tell: what is known is right.
func (w *Watcher) current() {
	w.mu.Lock()
	back := w.back()
	state := w.state()
	w.mu.Unlock()
	if back {
		w.report(state)
	}
}

// back notes that the stream is up, and says whether it was not. REQUIRES: the caller holds mu.
func (w *Watcher) back() bool {
	if w.live {
		return false
	}
	w.live, w.err = true, nil
	if w.uncached != nil && w.uncached.Not == notUsed { // the registry has told what the cache did not
		w.uncached = nil
	}
	return true
}

func (w *Watcher) report(s State) {
	if w.options.OnChange != nil {
		w.options.OnChange(s)
	}
}

// apply applies an update of the stream.
func (w *Watcher) apply(followed []domain.ServiceKey, all bool, u *client.Update) {
	w.mu.Lock()
	switch u.Kind {
	case wire.StreamSnapshot, wire.StreamReset:
		w.panicking(followed, all, u.Panics)
		w.replace(followed, all, u.Instances)
	case wire.StreamChange:
		w.applyChange(all, u.Change)
	case wire.StreamPanic:
		w.panicking(followed, all, u.Panics)
		w.remark()
	}
	back := u.Kind != wire.StreamCut && w.back()
	state := w.state()
	w.mu.Unlock()
	signal(w.dirty)
	if back {
		w.report(state)
	}
}

// replace takes a snapshot. REQUIRES: the caller holds mu.
func (w *Watcher) replace(followed []domain.ServiceKey, all bool, instances []wire.Instance) {
	byService := make(map[domain.ServiceKey][]*wire.Instance, len(followed))
	for i := range instances {
		one := instances[i] // a copy: the slice must not be kept for one instance
		key := domain.ServiceKey{Namespace: one.Namespace, Service: one.Service}
		byService[key] = append(byService[key], &one)
	}
	if all {
		w.replaceAll(byService)
		return
	}
	for _, key := range followed {
		if s := w.services[key]; s != nil {
			s.told = true
			w.set(s, sorted(byService[key]))
		}
	}
}

// applyChange puts or deletes an instance, in a new list. REQUIRES: the caller holds mu.
func (w *Watcher) applyChange(all bool, c *wire.Change) {
	key := domain.ServiceKey{Namespace: c.Namespace, Service: c.Service}
	s := w.services[key]
	if s == nil && all && c.Op == wire.Put {
		s = w.entry(key)
		s.told, s.followed = true, true
	}
	if s == nil || !s.followed {
		return
	}
	defer w.prune(s)
	var before []*wire.Instance
	if p := s.instances.Load(); p != nil {
		before = *p
	}
	i, there := find(before, c.ID)
	switch {
	case c.Op == wire.Put && there:
		after := slices.Clone(before)
		after[i] = c.Instance
		w.set(s, after)
	case c.Op == wire.Put:
		after := make([]*wire.Instance, 0, len(before)+1)
		w.set(s, append(append(append(after, before[:i]...), c.Instance), before[i:]...))
	case there:
		after := make([]*wire.Instance, 0, len(before))
		w.set(s, append(append(after, before[:i]...), before[i+1:]...))
	}
}
