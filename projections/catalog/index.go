package catalog

import (
	"hash/maphash"
	"sync/atomic"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
)

// index finds entries by their instances' keys. One goroutine changes it; any number look things up.
//
// It is a hash table of our own because every heartbeat asks it and every rebuild fills it: an entry's
// place is 16 bytes, growing moves places by the hashes in them, without a look at any name, and a look-up
// takes no lock, which would wait until all that the processor has yet to store is stored.
type index struct {
	seed   maphash.Seed
	shards [64]indexShard
}

// indexShard has a power of two of places, probed linearly, of which at most three quarters are used. Its
// numbers are the changing goroutine's own.
type indexShard struct {
	places atomic.Pointer[[]place]
	live   int // places of entries
	used   int // of entries and gone ones
}

// place is an entry and where its service lists it. A place goes from free to an entry, from that to gone, and
// to an entry again; free again it is only in another slice of places, so whoever probes passes no key by.
type place struct {
	entry *Entry // nil: the place is free; atomic once the place is published
	hash  uint32 // so, too; stored before the entry and looked at after it
	slot  uint32 // the changing goroutine's own
}

func (p *place) load() *Entry {
	return (*Entry)(atomic.LoadPointer((*unsafe.Pointer)(unsafe.Pointer(&p.entry))))
}

// replace puts an entry in the place, of the same key or where there was none.
func (p *place) replace(e *Entry) {
	atomic.StorePointer((*unsafe.Pointer)(unsafe.Pointer(&p.entry)), unsafe.Pointer(e))
}

// gone stands where an entry was removed.
var gone = new(Entry)

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].places.Store(new([]place))
	}
	return x
}

// shardOf is where a key belongs, and its hash there. The parts are hashed one by one: they would have to be
// copied together first, and a hash that reads what was just written waits for the processor's stores, too.
func (x *index) shardOf(key domain.Key) (*indexShard, uint32) {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio; keeps swapped parts apart
	h := maphash.String(x.seed, key.Namespace)
	h = h*odd + maphash.String(x.seed, key.Service)
	h = h*odd + maphash.String(x.seed, key.ID)
	return &x.shards[h>>58], uint32(h)
}

// find is the entry of that key, or nil.
func (x *index) find(key domain.Key) *Entry {
	s, hash := x.shardOf(key)
	_, e := lookup(*s.places.Load(), key, hash)
	return e
}

// together is how many keys are looked up together.
const together = 16

// lookups are those of a few keys on their way. Each waits for memory three times, for the place, the entry
// and its name: in steps that are short enough for the processor to be in several at once.
type lookups struct {
	shards [together]*indexShard
	hashes [together]uint32
	places [together][]place
	names  [together]string
}

func (l *lookups) begin(x *index, keys []domain.Key) {
	for i, key := range keys {
		s, hash := x.shardOf(key)
		l.shards[i], l.hashes[i], l.places[i], l.names[i] = s, hash, *s.places.Load(), ""
	}
	for i := range keys {
		if n := len(l.places[i]); n > 0 {
			if e := l.places[i][int(l.hashes[i])&(n-1)].load(); e != nil { // nearly always the one
				l.names[i] = e.name
				touched(byte(e.Epoch)) // it lies apart from the name
			}
		}
	}
	for i := range keys {
		if l.names[i] != "" {
			touched(l.names[i][0])
		}
	}
}

// findAll appends the entries of many keys.
func (x *index) findAll(into []*Entry, keys []domain.Key) []*Entry {
	var l lookups
	for ; len(keys) > 0; keys = keys[min(together, len(keys)):] {
		some := keys[:min(together, len(keys))]
		l.begin(x, some)
		for i, key := range some {
			_, e := lookup(l.places[i], key, l.hashes[i])
			into = append(into, e)
		}
	}
	return into
}

// touched does nothing with a byte of memory that will be needed soon, but have it read.
//
//go:noinline
func touched(byte) {}

// spot is where a key's entry is or would go. It is good until the next change of the index by another. Only the
// goroutine that changes the index may use spots.
type spot struct {
	shard *indexShard
	key   domain.Key
	hash  uint32
	place *place // nil: the shard has none yet
	entry *Entry // nil: there is none
}

// spot is the key's.
func (s *indexShard) spot(key domain.Key, hash uint32) spot {
	p, e := lookup(*s.places.Load(), key, hash)
	return spot{s, key, hash, p, e}
}

// lookup is the key's entry and its place, or nil and the place where it may go; there is none in no places.
func lookup(places []place, key domain.Key, hash uint32) (at *place, e *Entry) {
	if len(places) == 0 {
		return nil, nil
	}
	for i := int(hash) & (len(places) - 1); ; i = (i + 1) & (len(places) - 1) {
		p := &places[i]
		switch e := p.load(); {
		case e == nil:
			if at == nil {
				at = p
			}
			return at, nil
		case e == gone:
			if at == nil {
				at = p
			}
		case atomic.LoadUint32(&p.hash) == hash && e.is(key):
			return p, e
		}
	}
}

// set puts an entry in its spot.
func (at spot) set(e *Entry, slot int) {
	s, p := at.shard, at.place
	if at.entry == nil {
		if p == nil || p.entry == nil && 4*(s.used+1) > 3*len(*s.places.Load()) {
			s.rebuild()
			p, _ = lookup(*s.places.Load(), at.key, at.hash)
		}
		if p.entry == nil {
			s.used++
		}
		s.live++
		atomic.StoreUint32(&p.hash, at.hash)
	}
	p.slot = uint32(slot)
	p.replace(e)
}

// remove takes the entry out that is in the spot.
func (at spot) remove() {
	at.shard.live--
	at.place.replace(gone)
}

// set puts the entry in its key's place.
func (x *index) set(e *Entry, slot int) {
	key := e.Key()
	s, hash := x.shardOf(key)
	s.spot(key, hash).set(e, slot)
}

// rebuild makes room: twice the places that the entries need, without the gone ones.
func (s *indexShard) rebuild() {
	size := 8
	for 8*s.live > 3*size {
		size *= 2
	}
	places := make([]place, size)
	for _, p := range *s.places.Load() {
		if p.entry == nil || p.entry == gone {
			continue
		}
		to := int(p.hash) & (size - 1)
		for places[to].entry != nil {
			to = (to + 1) & (size - 1)
		}
		places[to] = p
	}
	s.used = s.live
	s.places.Store(&places)
}
