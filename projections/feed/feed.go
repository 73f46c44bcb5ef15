// Package feed tells of changes to the catalog, in order, as they are applied. One ring, which all readers share, keeps
// the newest changes (ADR 011). A reader is a position, so a slow reader costs no memory. A reader that fell behind the
// oldest change in the ring is told so.
package feed

import (
	"cmp"
	"context"
	"hash/maphash"
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
	ended    bool // the change removed an instance, or the service was never in heads before
}

// forgottenParts is into how many parts the services that are not in heads are divided.
const forgottenParts = 4096

// Feed keeps the newest changes. One goroutine appends; any goroutine reads.
//
// INVARIANT: the change with number n is in the ring at n modulo the ring's length, until the change with number n plus
// that length takes its place. A change never changes once it is in the ring, except that Forms remembers encodings, so a
// reader may keep it without the lock. heads has each service that somebody watches, and each other one but those whose newest change
// has left the ring and removed an instance. So a watcher who has looked at a service is never told that changes to it are gone because
// other services changed.
type Feed struct {
	mu    sync.RWMutex
	ring  []*Change
	next  uint64              // number of the next change
	floor eventstore.Position // changes up to this position are not in the ring
	last  eventstore.Position // of the newest change
	heads map[domain.ServiceKey]*head
	// forgotten is the newest position at which a service that is not in heads may have changed, by part of the services: where many
	// services come and go, the position of another one that is not in heads seldom changes.
	forgotten [forgottenParts]eventstore.Position
	seed      maphash.Seed // of the parts

	watches watches
}

// New is a feed that begins with a catalog at a position. capacity is how many changes the ring keeps.
func New(c *catalog.Catalog, at eventstore.Position, capacity int) *Feed {
	f := &Feed{ring: make([]*Change, capacity), next: 1, floor: at, last: at, seed: maphash.MakeSeed(), heads: make(map[domain.ServiceKey]*head)}
	for part := range f.forgotten {
		f.forgotten[part] = at
	}
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
	old := *slot
	*slot = c
	newest := f.head(c.Service)
	c.previous, *newest = *newest, head{f.next, e.Position, after == nil}
	f.next++
	f.last = e.Position
	if old != nil {
		f.floor = old.Position()
		if old.After == nil {
			f.forget(old.Service)
		}
	}
	f.mu.Unlock()
	f.watches.note(c.Service)
}

// head gives the head of a service, which is in heads from then on.
func (f *Feed) head(key domain.ServiceKey) *head {
	newest := f.heads[key]
	if newest == nil {
		newest = &head{position: *f.forgottenOf(key), ended: true}
		f.heads[key] = newest
	}
	return newest
}

// forgottenOf is the part of forgotten that a service is in.
func (f *Feed) forgottenOf(key domain.ServiceKey) *eventstore.Position {
	return &f.forgotten[maphash.Comparable(f.seed, key)%forgottenParts]
}

// forget removes a service from heads, when its newest change leaves the ring and when its last watcher stops, unless the service must
// be there.
func (f *Feed) forget(key domain.ServiceKey) {
	h := f.heads[key]
	if h == nil || !h.ended || f.at(h.number) != nil || f.watches.watched(key) {
		return
	}
	delete(f.heads, key)
	forgotten := f.forgottenOf(key)
	*forgotten = max(*forgotten, h.position)
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
	return *f.forgottenOf(key)
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
		return nil, *f.forgottenOf(key) <= after
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
	return f.WatchBy(nil, keys...)
}

// WatchBy is Watch for one who can be told without being woken: of a service with many watchers, Run calls tell in place of giving a
// token, and gives the token only if tell returns false. Waking a goroutine costs more than most of them have to do. Several
// goroutines call tell, one may call it while the watcher looks by itself, and one may still call it after stop. REQUIRES: tell does not wait.
func (f *Feed) WatchBy(tell func() bool, keys ...domain.ServiceKey) (changed chan struct{}, stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keys {
		if key != (domain.ServiceKey{}) {
			f.head(key)
		}
	}
	changed, unwatch := f.watches.add(tell, keys)
	return changed, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		unwatch()
		for _, key := range keys {
			f.forget(key)
		}
	}
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
