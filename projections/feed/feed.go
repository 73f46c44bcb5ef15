// Package feed tells of changes to the catalog, in order, as they are applied. The newest changes are
// kept in one ring that all readers share; a reader is a position, so it costs no memory however slow
// it is, and one that fell out of the ring finds out that it did.
package feed

import (
	"context"
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

	Forms encoded.Memo // what the change looks like in the formats that were asked for

	previous head // of the same service
}

// Position is that of the change's event.
func (c *Change) Position() eventstore.Position { return c.Event.Position }

// head is where a service's newest change is.
type head struct {
	number   uint64 // of the change, counted from 1; 0: it was never in this ring
	position eventstore.Position
}

// Feed keeps the newest changes. One goroutine appends; anyone reads.
type Feed struct {
	mu    sync.RWMutex
	ring  []*Change
	next  uint64              // number of the next change
	floor eventstore.Position // changes up to here are not in the ring
	last  eventstore.Position // of the newest change
	heads map[domain.ServiceKey]head
	// forgotten is up to where a service that is not in heads may have changed.
	forgotten eventstore.Position

	watches watches
}

// New is a feed of a catalog that stands at a position.
func New(c *catalog.Catalog, at eventstore.Position, capacity int) *Feed {
	f := &Feed{ring: make([]*Change, capacity), next: 1, floor: at, last: at, forgotten: at, heads: make(map[domain.ServiceKey]head)}
	for key, position := range c.Changes {
		f.heads[key] = head{position: position}
	}
	f.watches.wake = make(chan struct{}, 1)
	return f
}

// Append adds what an event did.
func (f *Feed) Append(e *eventstore.RecordedEvent, before, after *catalog.Entry) {
	entry := after
	if entry == nil {
		entry = before
	}
	c := &Change{Event: *e, Service: entry.Service(), Before: before, After: after}
	f.mu.Lock()
	var known bool
	if c.previous, known = f.heads[c.Service]; !known {
		c.previous = head{position: f.forgotten}
	}
	slot := &f.ring[f.next%uint64(len(f.ring))]
	if old := *slot; old != nil {
		f.floor = old.Position()
		f.forget(old)
	}
	*slot = c
	f.heads[c.Service] = head{f.next, e.Position}
	f.next++
	f.last = e.Position
	f.mu.Unlock()
	f.watches.note(c.Service)
}

// forget lets go of a service whose newest change leaves the ring and took its last instance out.
func (f *Feed) forget(old *Change) {
	h := f.heads[old.Service]
	if h.position == old.Position() && old.After == nil {
		delete(f.heads, old.Service)
		f.forgotten = old.Position()
	}
}

// Position is that of the newest change, or where the feed began.
func (f *Feed) Position() eventstore.Position {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.last
}

// ChangedAt is the position of the newest change to a service. Of one that has no instance and whose end has left the
// ring it is a later one, so that it never goes back.
func (f *Feed) ChangedAt(key domain.ServiceKey) eventstore.Position {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if h, known := f.heads[key]; known {
		return h.position
	}
	return f.forgotten
}

// Since gives the changes to a service (the zero key: to any) after a position, oldest first. ok is
// false when some of them have left the ring.
func (f *Feed) Since(key domain.ServiceKey, after eventstore.Position) (changes []*Change, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if key == (domain.ServiceKey{}) {
		return f.all(after)
	}
	h, known := f.heads[key]
	if !known {
		return nil, f.forgotten <= after
	}
	for h.position > after {
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

// at is the change of a number, nil when it is not in the ring.
func (f *Feed) at(number uint64) *Change {
	if number == 0 || number+uint64(len(f.ring)) < f.next || number >= f.next {
		return nil
	}
	return f.ring[number%uint64(len(f.ring))]
}

// Watch tells of changes to a service, or with the zero key to any: the channel holds a token when
// there was one since it was last received from. Several changes may be told of as one. Call stop
// when done.
func (f *Feed) Watch(key domain.ServiceKey) (changed <-chan struct{}, stop func()) {
	return f.watches.add(key)
}

// Run wakes watchers until the context ends, apart from Append, which wakes a few itself but never waits for
// how many they are.
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

// watches wakes who waits for a service to change.
type watches struct {
	wake chan struct{} // holds a token when there is someone to tell of something

	mu        sync.Mutex
	byService map[domain.ServiceKey]map[chan struct{}]struct{}
	changed   map[domain.ServiceKey]struct{} // that have watchers
}

func (w *watches) add(key domain.ServiceKey) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byService == nil {
		w.byService = make(map[domain.ServiceKey]map[chan struct{}]struct{})
		w.changed = make(map[domain.ServiceKey]struct{})
	}
	if w.byService[key] == nil {
		w.byService[key] = make(map[chan struct{}]struct{})
	}
	w.byService[key][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.byService[key], ch); len(w.byService[key]) == 0 {
			delete(w.byService, key)
			delete(w.changed, key)
		}
	}
}

// tellAtOnce is how many watchers are told right away: fewer than it is worth another goroutine's turn, which
// each of them would wait for.
const tellAtOnce = 16

// note has those told who watch a service that changed: if they are many, by tell.
func (w *watches) note(service domain.ServiceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
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
			default: // it will be told with what is told next
			}
		}
	}
}

func (w *watches) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.changed {
		w.tellOf(key)
	}
	clear(w.changed)
}

func (w *watches) tellOf(key domain.ServiceKey) {
	for ch := range w.byService[key] {
		select {
		case ch <- struct{}{}:
		default: // it has been told already, and has not looked yet
		}
	}
}
