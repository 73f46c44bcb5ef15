package catalog

import (
	"hash/maphash"
	"sync"
	"unsafe"
)

// index finds entries by their instances' names. One goroutine changes it; any number look things up.
//
// It is a hash table of our own because every heartbeat asks it and every rebuild fills it: an entry's
// place is 16 bytes, and growing moves places by the hashes in them, without a look at any name.
type index struct {
	seed   maphash.Seed
	shards [64]indexShard
}

type indexShard struct {
	mu     sync.RWMutex
	places []place // a power of two; probed linearly, at most three quarters full
	used   int
}

// place is an entry and where its service lists it.
type place struct {
	entry *Entry // nil: the place is free
	slot  uint32
	hash  uint32
}

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

// shardOf is where a name belongs, and its hash there.
func (x *index) shardOf(name string) (*indexShard, uint32) {
	h := maphash.String(x.seed, name)
	return &x.shards[h>>58], uint32(h)
}

// find is the entry of that name, or nil.
func (x *index) find(name []byte) *Entry {
	text := unsafe.String(unsafe.SliceData(name), len(name)) // looked at here only
	s, hash := x.shardOf(text)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i, ok := s.lookup(text, hash); ok {
		return s.places[i].entry
	}
	return nil
}

// get is the place of that name; its entry is nil when there is none. Only the goroutine that changes the
// index may call it.
func (x *index) get(name string) place {
	s, hash := x.shardOf(name)
	if i, ok := s.lookup(name, hash); ok {
		return s.places[i]
	}
	return place{}
}

// lookup is where the name is, or else where it would go.
func (s *indexShard) lookup(name string, hash uint32) (i int, ok bool) {
	if len(s.places) == 0 {
		return 0, false
	}
	for i = int(hash) & (len(s.places) - 1); s.places[i].entry != nil; i = (i + 1) & (len(s.places) - 1) {
		if s.places[i].hash == hash && s.places[i].entry.name == name {
			return i, true
		}
	}
	return i, false
}

// set puts the entry in its name's place.
func (x *index) set(e *Entry, slot int) {
	s, hash := x.shardOf(e.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.lookup(e.name, hash)
	if !ok {
		if s.used++; 4*s.used > 3*len(s.places) {
			s.grow()
			i, _ = s.lookup(e.name, hash)
		}
	}
	s.places[i] = place{e, uint32(slot), hash}
}

func (s *indexShard) grow() {
	old := s.places
	s.places = make([]place, max(8, 2*len(old)))
	for _, p := range old {
		if p.entry == nil {
			continue
		}
		i := int(p.hash) & (len(s.places) - 1)
		for s.places[i].entry != nil {
			i = (i + 1) & (len(s.places) - 1)
		}
		s.places[i] = p
	}
}

// remove takes the name out.
func (x *index) remove(name string) {
	s, hash := x.shardOf(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.lookup(name, hash)
	if !ok {
		return
	}
	s.used--
	// Those behind it move up, as far as they may, so that no probe ends at the gap too early.
	mask := len(s.places) - 1
	for next := (i + 1) & mask; s.places[next].entry != nil; next = (next + 1) & mask {
		if home := int(s.places[next].hash) & mask; (next-home)&mask >= (next-i)&mask {
			s.places[i] = s.places[next]
			i = next
		}
	}
	s.places[i] = place{}
}
