package leases_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
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
	table, as := leases.NewTable(now, 0), newRegistered()
	instances := make([]*catalog.Entry, ids)
	for i := range instances {
		instances[i] = as.instance(domain.Key{Namespace: "default", Service: "job", ID: fmt.Sprint(i)}, 1, 24*time.Hour)
	}
	before := heap()
	for i, of := range instances {
		if i%(ids/waves) == 0 && i > 0 {
			table.Sweep(now)
		}
		table.Start(of, now, now)
		table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(of.Key()), StreamNumber: uint32(i + 1)}, now)
		if gone := i - ids/waves; gone >= 0 {
			table.End(instances[gone].Key(), false)
		}
	}
	for i := ids - ids/waves; i < ids; i++ {
		table.End(instances[i].Key(), false)
	}
	if after := heap(); after > before+ids*10 {
		t.Errorf("%d leases that ended take %d bytes", ids, after-before)
	}
	if table.Len() != 0 {
		t.Errorf("%d leases are left", table.Len())
	}
	runtime.KeepAlive(table)
	runtime.KeepAlive(instances)
}

// A million overdue leases that are held cost nothing until something happens to them.
func BenchmarkAMillionOverdueLeases(b *testing.B) {
	const million = 1_000_000
	began := time.Now()
	table, as := leases.NewTable(began, million), newRegistered()
	for i := range million {
		table.Start(as.instance(domain.Key{Namespace: "default", Service: "s", ID: fmt.Sprint(i)}, 1, 30*time.Second), began, began)
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

// A lease knows its instance by the instance's entry in the catalog. It must not keep entries that the catalog no longer has.
func TestALeaseKeepsNoEntryThatWasReplaced(t *testing.T) {
	table, as := leases.NewTable(began, 0), newRegistered()
	first := weak.Make(as.instance(key(1), 1, time.Minute))
	table.Start(first.Value(), began, began)
	now := as.instance(key(1), 1, time.Minute)
	table.Replaced(now)
	table.Replaced(as.instance(key(2), 1, time.Minute)) // it has no lease
	runtime.GC()
	if first.Value() != nil {
		t.Error("the entry that was replaced is kept")
	}
	l, ok := table.Find(key(1))
	if !ok || l.Key != now.Key() || l.TTL != time.Minute || !l.LastHeard.Equal(began) || table.Len() != 1 {
		t.Errorf("the lease is %+v, %v, of %d", l, ok, table.Len())
	}
}
