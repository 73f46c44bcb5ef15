package leases

import (
	"iter"
	"time"
	"unique"

	"github.com/rollcall-registry/rollcall/domain"
)

// Beginning is an instance whose lease begins when the process starts.
type Beginning struct {
	ID    string
	Epoch uint64
	TTL   time.Duration
}

// Begin begins the leases of a service's instances as Start does for events from before this process started. It is several
// times as fast, because it does not look for leases that are there already. Several goroutines may call Begin at once.
// REQUIRES: the table has no lease of these instances, and no other method is called meanwhile.
func (t *Table) Begin(key domain.ServiceKey, instances iter.Seq[Beginning], now time.Time) {
	service, heard := unique.Make(key), t.since(now)
	t.mu.Lock()
	in := t.namespace(key.Namespace)
	t.mu.Unlock()
	var some [64]*lease
	n := 0
	for i := range instances {
		some[n] = &lease{
			service: service, hash: t.hash(domain.Key{Namespace: key.Namespace, Service: key.Service, ID: i.ID}),
			epoch: i.Epoch, heard: heard, ttl: int64(max(i.TTL, 0)), runs: i.TTL > 0,
		}
		some[n].named(i.ID)
		if n++; n == len(some) {
			t.begin(in, some[:n])
			n = 0
		}
	}
	t.begin(in, some[:n])
}

// begin adds new leases of a namespace.
func (t *Table) begin(in *namespace, some []*lease) {
	for _, l := range some {
		s := t.shard(l.hash)
		s.mu.Lock()
		s.leases.Add(l)
		s.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range some {
		if l.runs {
			t.joined(in, l)
		}
	}
}
