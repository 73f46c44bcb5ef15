package catalog

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
)

// index finds entries by their instances' keys. One goroutine changes the index; any number of goroutines look keys up.
//
// The index is a hash table of our own, because every heartbeat asks it and every rebuild fills it. An entry takes a slot
// of 16 bytes. Growth moves slots by the hashes in them, without a look at any name. A look-up takes no lock: a lock would
// make the processor finish its pending stores first.
//
// INVARIANT: a slot goes from free to an entry, from the entry to a tombstone, and from a tombstone to an entry. It never
// becomes free again. A table is never changed after rebuild has published its successor. So a reader that probes a table
// finds every key that was in it when the probe began and was not removed since.
type index struct {
	seed   maphash.Seed
	shards [64]indexShard
}

// indexShard is a table of slots with linear probing. At most three quarters of the slots are used.
type indexShard struct {
	slots   atomic.Pointer[[]slot]
	live    int        // slots of entries; only the changing goroutine uses it
	used    int        // slots of entries and tombstones; only the changing goroutine uses it
	loading sync.Mutex // held to change the shard while several goroutines load a snapshot
}

// home is where a probe for a hash begins, of so many slots. The slots need not be a power of two, so that a table has no more of
// them than it needs.
func home(hash uint32, slots int) int { return int(uint64(hash) * uint64(slots) >> 32) }

// slot holds an entry and the entry's place in the list of its service.
type slot struct {
	entry  *Entry // nil: the slot is free; atomic once the table is published
	hash   uint32 // of the key; atomic, too; stored before the entry and loaded after it
	listed uint32 // index in the service's list; only the changing goroutine uses it
}

func (s *slot) load() *Entry {
	return (*Entry)(atomic.LoadPointer((*unsafe.Pointer)(unsafe.Pointer(&s.entry))))
}

// store puts an entry into the slot. REQUIRES: the slot has an entry of the same key, or none; its hash is the key's.
func (s *slot) store(e *Entry) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&s.entry)), unsafe.Pointer(e))
}

// tombstone stands in a slot whose entry was removed, so that probes go on behind it.
var tombstone = new(Entry)

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].slots.Store(new([]slot))
	}
	return x
}

// shardOf is the shard of a key, and the key's hash within it. The three parts of a key are hashed one by one. Otherwise
// they would have to be copied into one string first, and a hash that reads what was just written waits for the
// processor's stores, too.
func (x *index) shardOf(key domain.Key) (*indexShard, uint32) {
	return x.shardWithin(x.hashService(key.Namespace, key.Service), key.ID)
}

// odd is 2^64 divided by the golden ratio. Keys with swapped parts get different hashes.
const odd = 0x9e3779b97f4a7c15

func (x *index) hashService(namespace, service string) uint64 {
	return maphash.String(x.seed, namespace)*odd + maphash.String(x.seed, service)
}

// shardWithin is the shard and the hash of an instance's id within the service of that hash.
func (x *index) shardWithin(service uint64, id string) (*indexShard, uint32) {
	h := service*odd + maphash.String(x.seed, id)
	return &x.shards[h>>58], uint32(h)
}

// find is the entry of that key, or nil.
func (x *index) find(key domain.Key) *Entry {
	s, hash := x.shardOf(key)
	_, e := lookup(*s.slots.Load(), &key, hash)
	return e
}

// prefetchBatch is how many keys, or entries, are prefetched at once.
const prefetchBatch = keptTogether

// lookups are the look-ups of a few keys. Each look-up waits for memory three times: for the slot, the entry, and the
// entry's text and service. begin does one of these reads for all keys before the next, in loops so short that the processor waits
// for several at the same time.
type lookups struct {
	shards [prefetchBatch]*indexShard
	hashes [prefetchBatch]uint32
	tables [prefetchBatch][]slot
	found  [prefetchBatch]*Entry // nil: none was found
}

// begin prefetches what the look-ups of the keys need. REQUIRES: at most prefetchBatch keys.
func (l *lookups) begin(x *index, keys []domain.Key) {
	var service uint64 // the hash of the service of the key before; most keys of a batch are of one service
	for i := range keys {
		key := &keys[i]
		if i == 0 || key.Service != keys[i-1].Service || key.Namespace != keys[i-1].Namespace {
			service = x.hashService(key.Namespace, key.Service)
		}
		s, hash := x.shardWithin(service, key.ID)
		l.shards[i], l.hashes[i], l.tables[i], l.found[i] = s, hash, *s.slots.Load(), nil
	}
	for i := range keys {
		if n := len(l.tables[i]); n > 0 {
			if e := l.tables[i][home(l.hashes[i], n)].load(); e != nil { // nearly always the key's
				l.found[i] = e
				discard(byte(e.idLength))
			}
		}
	}
	for i := range keys {
		if e := l.found[i]; e != nil && e != tombstone {
			discard(*e.text)
			discard(byte(len(e.service.key.Service)))
		}
	}
}

// findAll appends the entries of many keys; nil for a key without an entry.
func (x *index) findAll(into []*Entry, keys []domain.Key) []*Entry {
	var l lookups
	for ; len(keys) > 0; keys = keys[min(prefetchBatch, len(keys)):] {
		some := keys[:min(prefetchBatch, len(keys))]
		l.begin(x, some)
		for i := range some {
			_, e := lookup(l.tables[i], &some[i], l.hashes[i])
			into = append(into, e)
		}
	}
	return into
}

// discard does nothing with a byte. The compiler cannot leave out the read of the byte.
//
//go:noinline
func discard(byte) {}

// location is the slot in which a key's entry is or would go. REQUIRES: only the goroutine that changes the index uses
// locations, and it uses a location before it changes the index in any other way.
type location struct {
	shard *indexShard
	key   domain.Key
	hash  uint32
	slot  *slot  // nil: the shard has no slots yet
	entry *Entry // nil: the key has no entry
}

// locate is the location of a key.
func (s *indexShard) locate(key domain.Key, hash uint32) location {
	found, e := lookup(*s.slots.Load(), &key, hash)
	return location{s, key, hash, found, e}
}

// lookup gives the key's slot and entry. For a key without an entry it gives the slot where the entry would go, which is
// nil in a table without slots.
func lookup(slots []slot, key *domain.Key, hash uint32) (at *slot, e *Entry) {
	if len(slots) == 0 {
		return nil, nil
	}
	for i := home(hash, len(slots)); ; i++ {
		if i == len(slots) {
			i = 0
		}
		s := &slots[i]
		switch e := s.load(); {
		case e == nil:
			if at == nil {
				at = s
			}
			return at, nil
		case e == tombstone:
			if at == nil {
				at = s
			}
		case atomic.LoadUint32(&s.hash) == hash && e.is(key):
			return s, e
		}
	}
}

// set puts the key's entry into the location. listed is the entry's place in the list of its service.
func (l location) set(e *Entry, listed int) {
	shard, at := l.shard, l.slot
	if l.entry == nil {
		if at == nil || at.entry == nil && 4*(shard.used+1) > 3*len(*shard.slots.Load()) {
			shard.rebuild()
			at, _ = lookup(*shard.slots.Load(), &l.key, l.hash)
		}
		if at.entry == nil {
			shard.used++
		}
		shard.live++
		atomic.StoreUint32(&at.hash, l.hash)
	}
	at.listed = uint32(listed)
	at.store(e)
}

// remove takes the key's entry out. When few entries are left of those that there were, the memory of the other slots is
// given back. REQUIRES: the location has an entry.
func (l location) remove() {
	l.shard.live--
	l.slot.store(tombstone)
	if slots := len(*l.shard.slots.Load()); slots > 64 && 16*l.shard.live < slots {
		l.shard.rebuild()
	}
}

// set puts an entry into the slot of its key.
func (x *index) set(e *Entry, listed int) {
	key := e.Key()
	s, hash := x.shardOf(key)
	s.locate(key, hash).set(e, listed)
}

// reserve makes an empty index large enough for so many entries.
func (x *index) reserve(entries int) {
	for i := range x.shards {
		each := entries / len(x.shards)
		slots := make([]slot, (each+each/20+leastSlots)*7/5) // no shard has many more entries than the others
		x.shards[i].slots.Store(&slots)
	}
}

const leastSlots = 8

// rebuild makes and publishes a new table without tombstones, in which the entries take at most nine sixteenths of the slots.
func (s *indexShard) rebuild() {
	slots := make([]slot, max(leastSlots, (16*s.live+8)/9))
	for _, old := range *s.slots.Load() {
		if old.entry == nil || old.entry == tombstone {
			continue
		}
		to := home(old.hash, len(slots))
		for slots[to].entry != nil {
			if to++; to == len(slots) {
				to = 0
			}
		}
		slots[to] = old
	}
	s.used = s.live
	s.slots.Store(&slots)
}
