package leases_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What is in memory follows the leases that run, not those that ever ran, however long their ttls were.
func TestLeasesThatEndedTakeNoMemory(t *testing.T) {
	const ids, waves = 60_000, 12
	now := time.Now()
	table := leases.NewTable(now, 0)
	before := heap()
	for i := range ids {
		if i%(ids/waves) == 0 && i > 0 {
			table.Sweep(now)
		}
		key := domain.Key{Namespace: "default", Service: "job", ID: fmt.Sprint(i)}
		table.Start(key, 1, 24*time.Hour, now, now)
		table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key), StreamNumber: uint32(i + 1)}, now)
		if gone := i - ids/waves; gone >= 0 {
			table.End(domain.Key{Namespace: "default", Service: "job", ID: fmt.Sprint(gone)}, false)
		}
	}
	for i := ids - ids/waves; i < ids; i++ {
		table.End(domain.Key{Namespace: "default", Service: "job", ID: fmt.Sprint(i)}, false)
	}
	if after := heap(); after > before+ids*10 {
		t.Errorf("%d leases that ended take %d bytes", ids, after-before)
	}
	if table.Len() != 0 {
		t.Errorf("%d leases are left", table.Len())
	}
	runtime.KeepAlive(table)
}

// A million overdue leases that are held cost nothing until something happens to them.
func BenchmarkAMillionOverdueLeases(b *testing.B) {
	const million = 1_000_000
	began := time.Now()
	table := leases.NewTable(began, million)
	for i := range million {
		table.Start(domain.Key{Namespace: "default", Service: "s", ID: fmt.Sprint(i)}, 1, 30*time.Second, began, began)
	}
	var p leases.Preservation
	look := func(now time.Time) {
		table.Sweep(now)
		p.Look(table, &leases.Standings{}, began, now)
	}
	now := began.Add(31 * time.Second)
	look(now)
	if table.Due() != million {
		b.Fatalf("%d leases are overdue", table.Due())
	}
	for b.Loop() {
		now = now.Add(100 * time.Millisecond)
		look(now)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(100*time.Millisecond)*100, "%core")
}
