package leases

import (
	"hash/maphash"
	"sync"
	"unsafe"

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
	return s, s.leases.Find(hash, key)
}

// key names the instance.
func (l *lease) key() domain.Key {
	service := l.service.Value()
	return domain.Key{Namespace: service.Namespace, Service: service.Service, ID: unsafe.String(l.id, l.idLength)}
}

// named gives a lease the id of its instance. The caller's memory is kept, of which the newest call of Start has.
func (l *lease) named(id string) { l.id, l.idLength = unsafe.StringData(id), uint32(len(id)) }

// Hash implements sparse.Item.
func (l *lease) Hash() uint32 { return l.hash }

// Is implements sparse.Item.
func (l *lease) Is(key domain.Key) bool { return l.key() == key }
