package probes

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fleetMemory is how many bytes an instance takes in the catalog, in the table of leases and in the prober. Its checks have
// answered once.
func fleetMemory(t testing.TB, instances int, checksOf func(address string) []domain.Check) (all, prober int) {
	before := heap()
	now := time.Unix(1e9, 0).UTC()
	c, table := catalog.New(), leases.NewTable(now, instances)
	entries := make([]*catalog.Entry, 0, instances)
	position := eventstore.Position(0)
	apply := func(key domain.Key, revision int, event domain.Event) *catalog.Entry {
		data, err := domain.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		position++
		_, entry, err := c.Apply(&eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)},
			Stream:    eventstore.LifecycleStream(key), Revision: eventstore.Revision(revision), Position: position, RecordedAt: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		return entry
	}
	for n := range instances {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("instance-", n)}
		address := fmt.Sprintf("10.%d.%d.%d", n/62500, n/250%250, n%250)
		decided, err := domain.Decide(domain.Instance{Key: key}, domain.RegisterInstance{Key: key, Details: domain.Details{
			Address: address, Weight: 100, TTL: domain.Duration(30 * time.Second), Checks: checksOf(address),
		}})
		if err != nil {
			t.Fatal(err)
		}
		entry := apply(key, 0, decided[0])
		table.Start(entry, now, now)
		for at, check := range entry.Checks() {
			entry = apply(key, 1+at, domain.CheckChanged{
				Epoch: 1, Check: check.ID, Kind: check.Kind, From: domain.Starting, To: domain.Passing, Cause: domain.CheckProbed, Output: "GET /health answered 200 after 12 ms", By: "node-1-7070",
				Latency: domain.Duration(12 * time.Millisecond), Looks: 1, Status: domain.Passing, PreviousStatus: domain.Starting,
			})
		}
		table.Checks(entry, "", "", now, now)
		entries = append(entries, entry)
	}
	without := heap()
	p := New(Options{Mine: Alone("n").Mine, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	for _, e := range entries {
		d := e.Details()
		i := queries.ProbedInstance{Key: e.Key(), Epoch: e.Epoch(), Address: d.Address}
		for at, s := range e.Checks() {
			d.Checks[at].ID = s.ID
			i.Checks = append(i.Checks, queries.ProbedCheck{Check: d.Checks[at], Revision: s.Revision, Status: s.Status})
		}
		p.Set(InstanceOf(i), false)
	}
	entries = nil
	after := heap()
	runtime.KeepAlive(c)
	runtime.KeepAlive(table)
	runtime.KeepAlive(p)
	return int(after-before) / instances, int(after-without) / instances
}

// A check that is looked at takes less than 500 bytes in all, with its output, its texts and what is kept of its instance
// because of it.
func TestAnIdleProbedCheckTakesLessThan500BytesInAll(t *testing.T) {
	const instances = 7_000
	for name, check := range map[string]func(address string, n int) domain.Check{
		"http": func(address string, n int) domain.Check {
			return domain.Check{ID: fmt.Sprint("http-", n), Kind: domain.CheckHTTP, URL: "http://" + address + ":8080/health", Failures: 2}
		},
		"grpc": func(_ string, n int) domain.Check {
			return domain.Check{ID: fmt.Sprint("grpc-", n), Kind: domain.CheckGRPC, Port: "http", GRPCService: "checkout.v1.Checkout"}
		},
	} {
		checks := func(count int) func(string) []domain.Check {
			return func(address string) (all []domain.Check) {
				for n := range count {
					all = append(all, check(address, n).Normalize())
				}
				return all
			}
		}
		var first, each int
		for range 3 { // what another test leaves behind may be freed, or kept, in the middle of a measurement
			none, _ := fleetMemory(t, instances, func(string) []domain.Check { return nil })
			one, prober := fleetMemory(t, instances, checks(1))
			five, _ := fleetMemory(t, instances, checks(5))
			first, each = one-none, (five-one)/4
			t.Logf("%s: the first check of an instance takes %d bytes, %d of them in the prober, and each further check %d", name, first, prober, each)
			if first < 500 && each < 500 {
				break
			}
		}
		if first >= 500 || each >= 500 {
			t.Errorf("a check (%s) takes %d bytes, or %d", name, first, each)
		}
	}
}
