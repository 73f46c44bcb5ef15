package live

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// heapOf is how many bytes an instance with checks takes in the catalog and in the table of leases.
func heapOf(t testing.TB, instances int, checks ...domain.Check) float64 {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	now := time.Unix(1, 0).UTC()
	c, table := catalog.New(), leases.NewTable(now, instances)
	for n := range instances {
		key := domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint("instance-", n)}
		decided, err := domain.Decide(domain.Instance{Key: key}, domain.RegisterInstance{Key: key, Details: domain.Details{
			Address: "10.0.0.5", Weight: 100, TTL: domain.Duration(30 * time.Second), Checks: checks,
		}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := domain.Encode(decided[0])
		if err != nil {
			t.Fatal(err)
		}
		e := eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: decided[0].EventType(), Data: data, Metadata: []byte(`{"schema":2}`)},
			Stream:    eventstore.LifecycleStream(key), Position: eventstore.Position(n + 1), RecordedAt: now,
		}
		_, entry, err := c.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		table.Start(entry, now, now)
		if entry.Watched() {
			table.Checks(entry, "", "", now, now)
		}
	}
	used := float64(heap()-before) / float64(instances)
	runtime.KeepAlive(c)
	runtime.KeepAlive(table)
	return used
}

// checksOf are n checks of a kind, as users write them.
func checksOf(kind domain.CheckKind, n int) []domain.Check {
	checks := make([]domain.Check, n)
	for i := range checks {
		c := domain.Check{ID: fmt.Sprint("check-", i), Kind: kind, TTL: domain.Duration(15 * time.Second)}
		if kind == domain.CheckHTTP {
			c = domain.Check{ID: fmt.Sprint("check-", i), Kind: kind, URL: "http://10.0.0.5:8080/health"}
		}
		checks[i] = c.Normalize()
	}
	return checks
}

func TestAnIdleCheckTakesLessThan500Bytes(t *testing.T) {
	const instances = 5_000
	none := heapOf(t, instances)
	for _, kind := range []domain.CheckKind{domain.CheckHTTP, domain.CheckTTL} {
		one, five := heapOf(t, instances, checksOf(kind, 1)...), heapOf(t, instances, checksOf(kind, 5)...)
		first, each := one-none, (five-one)/4
		t.Logf("an instance takes %.0f bytes, its first %s check %.0f, each further check %.0f", none, kind, first, each)
		if first >= 500 || each >= 500 {
			t.Errorf("a check of kind %s takes %.0f bytes, or %.0f", kind, first, each)
		}
	}
}
