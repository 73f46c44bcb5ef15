package leases

import (
	"hash/maphash"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// shard has some of the leases by their instances' keys. Leases of checks are in the lease of their instance.
type shard struct {
	mu     sync.Mutex
	leases sparse.Table[domain.Key, lease, *lease]
}

// hash is the hash of a key. Its highest bits say which shard the key is in, and its lowest ones where a probe begins.
func (t *Table) hash(key domain.Key) uint32 {
	return t.hashWithin(t.hashService(key.ServiceKey()), key.ID)
}

const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: keys with swapped parts get different hashes

func (t *Table) hashService(key domain.ServiceKey) uint64 {
	return maphash.String(t.seed, key.Namespace)*odd + maphash.String(t.seed, key.Service)
}

// hashWithin is the hash of an instance's key, by that of its service.
func (t *Table) hashWithin(service uint64, id string) uint32 {
	return uint32((service*odd + maphash.String(t.seed, id)) >> 32)
}

func (t *Table) shard(hash uint32) *shard { return &t.shards[hash>>26] }

// lock locks the shard of a key, and gives the key's lease; nil: there is none.
func (t *Table) lock(key domain.Key) (s *shard, l *lease) {
	hash := t.hash(key)
	s = t.shard(hash)
	s.mu.Lock()
	return s, s.leases.Find(hash, key)
}

// Hash implements sparse.Item.
func (l *lease) Hash() uint32 { return l.hash }

// Is implements sparse.Item.
func (l *lease) Is(key domain.Key) bool { return l.of.Is(key) }
