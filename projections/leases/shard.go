package leases

import (
	"hash/maphash"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
)

// shard finds some of the leases by their instances' keys. It is a hash table of our own with linear probing, because it holds a
// lease in one pointer, where a map would hold the key, too.
//
// INVARIANT: of the slots, a power of two, at most three quarters are used. Between the slot at which the probe for a lease
// begins and the lease's slot no slot is free.
type shard struct {
	mu    sync.Mutex
	slots []*lease // nil: the slot is free; leases of checks are in the lease of their instance
	live  int      // slots that are used
}

// newSlots has capacity for a number of leases.
func newSlots(leases int) []*lease {
	size := 8
	for 3*size < 4*leases {
		size *= 2
	}
	return make([]*lease, size)
}

// hash is the hash of a key. Its highest bits say which shard the key is in, and its lowest ones where a probe begins.
func (t *Table) hash(key domain.Key) uint32 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: keys with swapped parts get different hashes
	h := maphash.String(t.seed, key.Namespace)
	h = h*odd + maphash.String(t.seed, key.Service)
	h = h*odd + maphash.String(t.seed, key.ID)
	return uint32(h >> 32)
}

func (t *Table) shard(hash uint32) *shard { return &t.shards[hash>>26] }

// lock locks the shard of a key, and gives the key's lease; nil: there is none.
func (t *Table) lock(key domain.Key) (s *shard, l *lease) {
	hash := t.hash(key)
	s = t.shard(hash)
	s.mu.Lock()
	return s, s.find(hash, key)
}

// find is the lease of a key; nil: there is none. REQUIRES: the shard is locked.
func (s *shard) find(hash uint32, key domain.Key) *lease {
	mask := uint32(len(s.slots) - 1)
	for i := hash & mask; s.slots[i] != nil; i = (i + 1) & mask {
		if l := s.slots[i]; l.hash == hash && l.is(key) {
			return l
		}
	}
	return nil
}

// add adds a lease. REQUIRES: the shard is locked and has no lease of that key.
func (s *shard) add(l *lease) {
	if 4*(s.live+1) > 3*len(s.slots) {
		s.rebuild(2 * s.live)
	}
	s.place(l)
	s.live++
}

func (s *shard) place(l *lease) {
	mask := uint32(len(s.slots) - 1)
	i := l.hash & mask
	for s.slots[i] != nil {
		i = (i + 1) & mask
	}
	s.slots[i] = l
}

// remove removes a lease, and gives memory back when few leases are left of those that there were. Leases behind the lease
// whose probes would end at the free slot are moved forward. REQUIRES: the shard is locked and has the lease.
func (s *shard) remove(l *lease) {
	mask := uint32(len(s.slots) - 1)
	free := l.hash & mask
	for s.slots[free] != l {
		free = (free + 1) & mask
	}
	for i := (free + 1) & mask; s.slots[i] != nil; i = (i + 1) & mask {
		if begin := s.slots[i].hash & mask; (i-begin)&mask >= (i-free)&mask {
			s.slots[free] = s.slots[i]
			free = i
		}
	}
	s.slots[free] = nil
	s.live--
	if len(s.slots) > 64 && 16*s.live < len(s.slots) {
		s.rebuild(s.live)
	}
}

// rebuild makes a table with capacity for a number of leases, which is at least the number of those that there are.
func (s *shard) rebuild(leases int) {
	was := s.slots
	s.slots = newSlots(leases)
	for _, l := range was {
		if l != nil {
			s.place(l)
		}
	}
}

// key names the instance.
func (l *lease) key() domain.Key {
	service := l.service.Value()
	return domain.Key{Namespace: service.Namespace, Service: service.Service, ID: l.instance}
}

func (l *lease) is(key domain.Key) bool { return l.key() == key }
