// Package catalog is the projection of the live instances: what is registered now, or, fed with a
// prefix of the events, what was registered then.
//
// One goroutine applies events; any number of goroutines read. A reader takes a service's view, which never changes. A
// heartbeat changes no view.
package catalog

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Catalog holds the live instances, by name and by service.
type Catalog struct {
	seed      maphash.Seed
	index     *index
	shards    [64]shard
	instances atomic.Int64
	changed   atomic.Uint64 // position of the newest change to any service
	described atomic.Uint64 // position of the newest change besides those of status and traffic
	listed    atomic.Uint64 // how often a service got its first instance or lost its last
	listedAt  atomic.Uint64 // position of the newest such change
	foreign   bool          // entries may name a service of the catalog from which this one was cloned

	collecting sync.Mutex          // held to collect ids
	ids        atomic.Pointer[ids] // nil: nobody has asked for an id

	ends ends
}

type shard struct {
	mu       sync.RWMutex
	services map[domain.ServiceKey]*service
}

// service holds a service's entries. Its view is made when a reader asks for it.
//
// INVARIANT: only the goroutine that applies events changes entries and last, and it holds mu then. Readers hold mu to
// read them. A view is stored while mu is held, so it shows all changes before it.
type service struct {
	key     domain.ServiceKey
	mu      sync.Mutex
	entries []*Entry            // in no order
	last    eventstore.Position // of the newest change
	view    atomic.Pointer[View]
	sorted  sorted  // guarded by mu
	counts  *counts // guarded by mu; nil: nobody has asked for them
}

// New is an empty catalog.
func New() *Catalog {
	c := &Catalog{seed: maphash.MakeSeed(), index: newIndex()}
	for i := range c.shards {
		c.shards[i].services = make(map[domain.ServiceKey]*service)
	}
	return c
}

func (c *Catalog) shard(key domain.ServiceKey) *shard {
	return &c.shards[maphash.Comparable(c.seed, key)%uint64(len(c.shards))]
}

func (c *Catalog) service(key domain.ServiceKey) *service {
	shard := c.shard(key)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.services[key]
}

// Apply applies one event, and gives the instance's entry before and after it. Both are nil when the event changed
// nothing. An event that cannot be read changes nothing but the revision of the instance.
//
// REQUIRES: events come in position order, each once, from one goroutine.
func (c *Catalog) Apply(event *eventstore.RecordedEvent) (before, now *Entry, err error) {
	key, ok := instanceOf(event)
	if !ok {
		return nil, nil, notOfInstance(event)
	}
	shard, hash := c.index.shardOf(key)
	return c.apply(event, key, shard, hash)
}

// ApplyAll is Apply of many events. It is faster, because it prefetches the entries of several events. It calls outcome
// for each event before it applies the next.
func (c *Catalog) ApplyAll(events []eventstore.RecordedEvent, outcome func(event *eventstore.RecordedEvent, before, now *Entry, err error)) {
	var keys [prefetchBatch]domain.Key
	var l lookups
	for ; len(events) > 0; events = events[min(prefetchBatch, len(events)):] {
		some := events[:min(prefetchBatch, len(events))]
		for i := range some {
			keys[i], _ = instanceOf(&some[i])
		}
		l.begin(c.index, keys[:len(some)])
		for i := range some {
			event := &some[i]
			if keys[i] == (domain.Key{}) {
				outcome(event, nil, nil, notOfInstance(event))
				continue
			}
			before, now, err := c.apply(event, keys[i], l.shards[i], l.hashes[i])
			outcome(event, before, now, err)
		}
	}
}

// instanceOf is the instance of whose stream an event is; false: it is none that the catalog can have.
func instanceOf(event *eventstore.RecordedEvent) (key domain.Key, ok bool) {
	if key, ok = event.Stream.InstanceKey(); len(key.ID) > mostLengthOfID {
		return domain.Key{}, false
	}
	return key, ok
}

// notOfInstance is the error of a lifecycle event whose stream names no instance; nil for events of other streams.
func notOfInstance(event *eventstore.RecordedEvent) error {
	if strings.HasPrefix(string(event.Stream), eventstore.LifecyclePrefix) {
		return domain.InvalidField{Field: "stream", Rule: "must name an instance"}
	}
	return nil
}

func (c *Catalog) apply(event *eventstore.RecordedEvent, key domain.Key, shard *indexShard, hash uint32) (before, now *Entry, err error) {
	if !strings.HasPrefix(string(event.Stream), eventstore.LifecyclePrefix) { // heartbeats
		return nil, nil, nil
	}
	found := shard.locate(key, hash)
	was := found.entry
	var s *service
	if was != nil && !c.foreign {
		s = was.service
	} else {
		s = c.serviceOrNew(key.ServiceKey())
	}
	data, err := eventstore.Upcasted(event)
	if err == nil {
		now, err = next(was, s, key, event, data)
	}
	if err != nil {
		if was != nil {
			s.replace(found, was.passedOver(event))
		}
		return nil, nil, err
	}
	if was == now {
		return nil, nil, nil
	}
	c.put(s, found, now, event.Position)
	return was, now, nil
}

// serviceOrNew is the service, or a new service that put will add to the catalog.
func (c *Catalog) serviceOrNew(key domain.ServiceKey) *service {
	if s := c.service(key); s != nil {
		return s
	}
	return &service{key: domain.ServiceKey{Namespace: strings.Clone(key.Namespace), Service: strings.Clone(key.Service)}}
}

// replace puts another entry of the same instance in place of its entry. The position of the service stays.
func (s *service) replace(found location, now *Entry) {
	listed := int(found.slot.listed)
	s.mu.Lock()
	was := s.entries[listed]
	s.entries[listed] = now
	s.changed(was, now)
	s.mu.Unlock()
	found.set(now, listed)
}

// put replaces the entry at a location of the index by another one. Either may be absent: an instance that is new has no
// entry yet, and for an instance that ends now is nil.
func (c *Catalog) put(s *service, found location, now *Entry, at eventstore.Position) {
	var listed int
	var moved *Entry
	was := found.entry
	if was != nil {
		listed = int(found.slot.listed)
	}
	s.mu.Lock()
	switch end := len(s.entries) - 1; {
	case was == nil:
		listed = end + 1
		s.entries = append(s.entries, now)
	case now != nil:
		s.entries[listed] = now
	default:
		if listed != end {
			moved = s.entries[end]
			s.entries[listed] = moved
		}
		s.entries[end] = nil
		s.entries = s.entries[:end]
	}
	s.last = at
	s.changed(was, now)
	size := len(s.entries)
	s.mu.Unlock()

	if now != nil {
		found.set(now, listed)
	} else {
		found.remove()
	}
	if moved != nil {
		c.index.set(moved, listed)
	}

	if size == 0 || was == nil && size == 1 { // the service gets its first instance or loses its last
		shard := c.shard(s.key)
		shard.mu.Lock()
		if size == 0 {
			c.ends.note(s.key.Namespace, at) // first: whoever does not find the service finds its end
			delete(shard.services, s.key)
		} else {
			shard.services[s.key] = s
		}
		shard.mu.Unlock()
		c.listedAt.Store(uint64(at))
		c.listed.Add(1)
	}
	if was == nil {
		c.instances.Add(1)
		if known := c.ids.Load(); known != nil {
			known.add(now.ID(), s.key)
		}
	} else if now == nil {
		c.instances.Add(-1)
	}
	if was == nil || now == nil || was.packed() != now.packed() {
		c.described.Store(uint64(at))
	}
	c.changed.Store(uint64(at))
}

// Touch gives a service another view, at a position: what is not an event of its instances has changed what answers about it
// say. A service without instances has no view.
//
// REQUIRES: the goroutine that applies events calls it, in position order with the events.
func (c *Catalog) Touch(key domain.ServiceKey, at eventstore.Position) {
	s := c.service(key)
	if s == nil {
		return
	}
	s.mu.Lock()
	s.last = at
	s.dropView()
	s.mu.Unlock()
	c.changed.Store(uint64(at))
}

// Find is a live instance's entry, or nil.
func (c *Catalog) Find(key domain.Key) *Entry { return c.index.find(key) }

// FindAll appends the result of Find for each key. It is faster than one call for each.
func (c *Catalog) FindAll(into []*Entry, keys []domain.Key) []*Entry {
	return c.index.findAll(into, keys)
}

// Len is the number of live instances.
func (c *Catalog) Len() int { return int(c.instances.Load()) }

// Count is the number of instances in a namespace, see Within.
func (c *Catalog) Count(namespace string) (instances int) {
	if namespace == "" {
		return c.Len() - c.Count(domain.RegistryNamespace)
	}
	for s := range c.all {
		if s.key.Namespace == namespace {
			s.mu.Lock()
			instances += len(s.entries)
			s.mu.Unlock()
		}
	}
	return instances
}

// Changed is the position of the newest change to any instance, 0 if there was none. After SavedAt it may be a later position.
func (c *Catalog) Changed() eventstore.Position { return eventstore.Position(c.changed.Load()) }

// Described is the position of the newest change to any instance besides those of its status and traffic: an instance
// began, was updated or ended. It may be a later position, but is never after Changed, and it never falls.
func (c *Catalog) Described() eventstore.Position { return eventstore.Position(c.described.Load()) }

// Listed is a number that grows whenever the list of services changes.
func (c *Catalog) Listed() uint64 { return c.listed.Load() }

// ListedAt is the position of the newest change to the list of services since this catalog was made or loaded; 0: there was
// none.
func (c *Catalog) ListedAt() eventstore.Position { return eventstore.Position(c.listedAt.Load()) }

// View is the service with its instances as they are now. A service without instances has an empty view.
func (c *Catalog) View(key domain.ServiceKey) *View {
	s := c.service(key)
	if s == nil {
		return &View{Service: key}
	}
	if v := s.view.Load(); v != nil {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.view.Load(); v != nil {
		return v
	}
	v := &View{Service: s.key, Position: s.last, Entries: s.sorted.now(s.entries)}
	s.view.Store(v)
	return v
}

// All yields every live instance's entry, in no order.
func (c *Catalog) All(yield func(*Entry) bool) {
	for _, entries := range c.ByService {
		for _, e := range entries {
			if !yield(e) {
				return
			}
		}
	}
}

// ByService yields every service with the entries of its instances, both in no order.
func (c *Catalog) ByService(yield func(domain.ServiceKey, []*Entry) bool) {
	for s := range c.all {
		s.mu.Lock()
		entries := slices.Clone(s.entries)
		s.mu.Unlock()
		if !yield(s.key, entries) {
			return
		}
	}
}

// Changes yields the services that have instances with the position of each one's newest change, in no
// order.
func (c *Catalog) Changes(yield func(domain.ServiceKey, eventstore.Position) bool) {
	for s := range c.all {
		s.mu.Lock()
		last := s.last
		s.mu.Unlock()
		if !yield(s.key, last) {
			return
		}
	}
}

func (c *Catalog) all(yield func(*service) bool) {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.RLock()
		services := slices.Collect(maps.Values(shard.services))
		shard.mu.RUnlock()
		for _, s := range services {
			if !yield(s) {
				return
			}
		}
	}
}

// Within says whether a namespace is the one that was asked for; with "" every namespace is but the registry's own.
func Within(asked, namespace string) bool {
	return namespace == asked || asked == "" && namespace != domain.RegistryNamespace
}

// Services are the services that have instances, in order of their names. namespace limits them, see Within.
func (c *Catalog) Services(namespace string) []domain.ServiceKey {
	keys := c.pick(func(key domain.ServiceKey) bool { return Within(namespace, key.Namespace) })
	slices.SortFunc(keys, ByName)
	return keys
}

// Matching are the services that have instances and that one of the specifications is for, but for the registry's own, in no order.
func (c *Catalog) Matching(specs []domain.PolicySpec) []domain.ServiceKey {
	return c.pick(func(key domain.ServiceKey) bool {
		return Within("", key.Namespace) && slices.ContainsFunc(specs, func(p domain.PolicySpec) bool { return p.Matches(key) })
	})
}

func (c *Catalog) pick(picks func(domain.ServiceKey) bool) (keys []domain.ServiceKey) {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.RLock()
		for key := range shard.services {
			if picks(key) {
				keys = append(keys, key)
			}
		}
		shard.mu.RUnlock()
	}
	return keys
}

// ByName orders services by namespace, then name.
func ByName(a, b domain.ServiceKey) int {
	if n := strings.Compare(a.Namespace, b.Namespace); n != 0 {
		return n
	}
	return strings.Compare(a.Service, b.Service)
}
