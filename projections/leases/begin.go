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
	var gathered [together]Beginning
	n := 0
	begin := func() {
		t.begin(in, service, gathered[:n], heard)
		n = 0
	}
	for i := range instances {
		gathered[n] = i
		if n++; n == len(gathered) {
			begin()
		}
	}
	begin()
}

// together is how many leases share a piece of memory, which is given back once all of them have ended, as those of the catalog's entries
// do (ADR 113). With the 8 bytes that the runtime puts before them they fill 2 KiB, which is a size of which the runtime has pieces.
const together = 21

// begin adds the leases of some instances of a service.
func (t *Table) begin(in *namespace, service unique.Handle[domain.ServiceKey], instances []Beginning, heard int64) {
	some := make([]lease, len(instances))
	key := domain.Key{Namespace: service.Value().Namespace, Service: service.Value().Service}
	for n, i := range instances {
		key.ID = i.ID
		some[n] = lease{service: service, hash: t.hash(key), epoch: i.Epoch, heard: heard, ttl: int64(max(i.TTL, 0)), runs: i.TTL > 0}
		some[n].named(i.ID)
	}
	for n := range some {
		l := &some[n]
		s := t.shard(l.hash)
		s.mu.Lock()
		s.leases.Add(l)
		s.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range some {
		if some[n].runs {
			t.joined(in, &some[n])
		}
	}
}
