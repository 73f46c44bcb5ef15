// Package feed tells of changes to the catalog, in order, as they are applied. One ring, which all readers share, keeps
// the newest changes (ADR 011). A reader is a position, so a slow reader costs no memory. A reader that fell behind the
// oldest change in the ring is told so.
package feed

import (
	"cmp"
	"context"
	"maps"
	"runtime"
	"slices"
	"sort"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
)

// Capacity is how many changes the ring keeps.
const Capacity = 16_384

// Change is what one event did to the catalog.
type Change struct {
	Event         eventstore.RecordedEvent
	Service       domain.ServiceKey
	Before, After *catalog.Entry // nil: not registered

	Forms encoded.Memo // the encodings of the change in the formats that were asked for

	previous head // the change before this one to the same service
}

// Position is the position of the change's event.
func (c *Change) Position() eventstore.Position { return c.Event.Position }

// head names a service's newest change.
type head struct {
	number   uint64 // of the change, counted from 1; 0: the change was never in this ring
	position eventstore.Position
}

// Feed keeps the newest changes. One goroutine appends; any goroutine reads.
//
// INVARIANT: the change with number n is in the ring at n modulo the ring's length, until the change with number n plus
// that length takes its place. A change never changes once it is in the ring, except that Forms remembers encodings, so a
// reader may keep it without the lock. heads has each service with an instance or with a change in the ring.
type Feed struct {
	mu    sync.RWMutex
	ring  []*Change
	next  uint64              // number of the next change
	floor eventstore.Position // changes up to this position are not in the ring
	last  eventstore.Position // of the newest change
	heads map[domain.ServiceKey]*head
	// forgotten is the newest position at which a service that is not in heads may have changed.
	forgotten eventstore.Position

	watches watches
}

// New is a feed that begins with a catalog at a position. capacity is how many changes the ring keeps.
func New(c *catalog.Catalog, at eventstore.Position, capacity int) *Feed {
	f := &Feed{ring: make([]*Change, capacity), next: 1, floor: at, last: at, forgotten: at, heads: make(map[domain.ServiceKey]*head)}
	for key, position := range c.Changes {
		f.heads[key] = &head{position: position}
	}
	f.watches.wake = make(chan struct{}, 1)
	return f
}

// Append adds the change that an event made. REQUIRES: one of before and after is not nil.
func (f *Feed) Append(e *eventstore.RecordedEvent, before, after *catalog.Entry) {
	entry := after
	if entry == nil {
		entry = before
	}
	c := &Change{Event: *e, Service: entry.Service(), Before: before, After: after}
	f.mu.Lock()
	slot := &f.ring[f.next%uint64(len(f.ring))]
	if old := *slot; old != nil {
		f.floor = old.Position()
		f.forget(old)
	}
	*slot = c
	newest := f.heads[c.Service]
	if newest == nil {
		newest = &head{position: f.forgotten}
		f.heads[c.Service] = newest
	}
	c.previous, *newest = *newest, head{f.next, e.Position}
	f.next++
	f.last = e.Position
	f.mu.Unlock()
	f.watches.note(c.Service)
}

// forget removes a service from heads when its newest change, which removed an instance, leaves the ring.
func (f *Feed) forget(old *Change) {
	if old.After != nil {
		return
	}
	if h := f.heads[old.Service]; h != nil && h.position == old.Position() {
		delete(f.heads, old.Service)
		f.forgotten = old.Position()
	}
}

// Position is the position of the newest change, or the position at which the feed began.
func (f *Feed) Position() eventstore.Position {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.last
}

// ChangedAt is the position of the newest change to a service. For a service that is not in heads any more it is a later
// position, so that the position of a service never decreases.
func (f *Feed) ChangedAt(key domain.ServiceKey) eventstore.Position {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if h, known := f.heads[key]; known {
		return h.position
	}
	return f.forgotten
}

// Since gives the changes to a service after a position, oldest first. The zero key gives the changes to all services. ok
// is false when some of the changes have left the ring.
func (f *Feed) Since(key domain.ServiceKey, after eventstore.Position) (changes []*Change, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.since(key, after)
}

// since is Since. REQUIRES: the caller holds mu.
func (f *Feed) since(key domain.ServiceKey, after eventstore.Position) (changes []*Change, ok bool) {
	if key == (domain.ServiceKey{}) {
		return f.all(after)
	}
	newest := f.heads[key]
	if newest == nil {
		return nil, f.forgotten <= after
	}
	for h := *newest; h.position > after; {
		c := f.at(h.number)
		if c == nil {
			return nil, false
		}
		changes = append(changes, c)
		h = c.previous
	}
	slices.Reverse(changes)
	return changes, true
}

// SinceAny is Since for several services: their changes in one order.
func (f *Feed) SinceAny(keys []domain.ServiceKey, after eventstore.Position) (changes []*Change, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if len(keys) == 1 {
		return f.since(keys[0], after)
	}
	for _, key := range keys {
		of, ok := f.since(key, after)
		if !ok {
			return nil, false
		}
		changes = append(changes, of...)
	}
	slices.SortFunc(changes, func(a, b *Change) int { return cmp.Compare(a.Position(), b.Position()) })
	return changes, true
}

func (f *Feed) all(after eventstore.Position) ([]*Change, bool) {
	if after >= f.last {
		return nil, true
	}
	if after < f.floor {
		return nil, false
	}
	oldest := f.next - min(f.next-1, uint64(len(f.ring)))
	n := int(f.next - oldest)
	i := sort.Search(n, func(i int) bool { return f.at(oldest+uint64(i)).Position() > after })
	changes := make([]*Change, 0, n-i)
	for ; i < n; i++ {
		changes = append(changes, f.at(oldest+uint64(i)))
	}
	return changes, true
}

// at is the change with a number; nil: it is not in the ring.
func (f *Feed) at(number uint64) *Change {
	if number == 0 || number+uint64(len(f.ring)) < f.next || number >= f.next {
		return nil
	}
	return f.ring[number%uint64(len(f.ring))]
}

// Watch tells of changes to any of some services, or with the zero key to any service. The channel gets a token after a
// change. It holds one token, so one token may stand for several changes; it is never closed. The caller may put a token in
// for a reason of its own. REQUIRES: the caller calls stop.
func (f *Feed) Watch(keys ...domain.ServiceKey) (changed chan struct{}, stop func()) {
	return f.watches.add(keys)
}

// Wake wakes the watchers of a service for another reason than a change.
func (f *Feed) Wake(service domain.ServiceKey) { f.watches.note(service) }

// Run wakes the watchers of services that have many, until the context ends. Append wakes only a few watchers by itself, so
// that its time does not depend on their number.
//
// A watcher of many is woken once in a round. The next round begins when all have been woken, so what changes meanwhile
// waits, and each watcher is told of all of that at once. A round takes as long as the processors need for the watchers.
func (f *Feed) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.watches.wake:
			f.watches.tell()
		}
	}
}

// watches has the channels of all who wait for a change to a service.
type watches struct {
	wake chan struct{} // holds a token when changed is not empty; never closed

	mu        sync.Mutex
	byService map[domain.ServiceKey]map[chan struct{}]struct{}
	changed   map[domain.ServiceKey]struct{} // services whose watchers Run is to wake
}

func (w *watches) add(keys []domain.ServiceKey) (changed chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byService == nil {
		w.byService = make(map[domain.ServiceKey]map[chan struct{}]struct{})
		w.changed = make(map[domain.ServiceKey]struct{})
	}
	for _, key := range keys {
		if w.byService[key] == nil {
			w.byService[key] = make(map[chan struct{}]struct{})
		}
		w.byService[key][ch] = struct{}{}
	}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, key := range keys {
			if delete(w.byService[key], ch); len(w.byService[key]) == 0 {
				delete(w.byService, key)
				delete(w.changed, key)
			}
		}
	}
}

// tellAtOnce is how many watchers Append wakes by itself. For so few, waking Run would take longer.
const tellAtOnce = 16

// note wakes the watchers of a service that changed. If they are many, Run wakes them.
func (w *watches) note(service domain.ServiceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.byService) == 0 {
		return
	}
	keys := [2]domain.ServiceKey{service, {}}
	watchers := len(w.byService[keys[0]]) + len(w.byService[keys[1]])
	for _, key := range keys {
		switch {
		case len(w.byService[key]) == 0:
		case watchers <= tellAtOnce:
			w.tellOf(key)
		default:
			w.changed[key] = struct{}{}
			select {
			case w.wake <- struct{}{}:
			default: // Run is already to be woken
			}
		}
	}
}

// atATime is how many watchers Run wakes before it lets other goroutines run. If all were woken at once, a command would
// wait behind all of them at each of its steps.
const atATime = 16

// tell wakes the watchers of the services that changed, a few at a time.
func (w *watches) tell() {
	for i, ch := range w.take() {
		wake(ch)
		if i%atATime == atATime-1 {
			runtime.Gosched()
		}
	}
}

// take gives the watchers of the services that changed. A watcher may have stopped when it is woken: its channel then
// keeps the token.
func (w *watches) take() (watchers []chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.changed {
		watchers = slices.AppendSeq(watchers, maps.Keys(w.byService[key]))
	}
	clear(w.changed)
	return watchers
}

func (w *watches) tellOf(key domain.ServiceKey) {
	for ch := range w.byService[key] {
		wake(ch)
	}
}

func wake(watcher chan struct{}) {
	select {
	case watcher <- struct{}{}:
	default: // the channel holds a token that was not received yet
	}
}
