package leases_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(i int) domain.Key {
	return domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint(i)}
}

// Whatever happens, Sweep finds just the leases that a plain look at all of them would name.
func TestOverdueIsWhatAPlainModelSays(t *testing.T) {
	type lease struct {
		ttl   time.Duration
		heard time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		table, as := leases.NewTable(began, 0), newRegistered()
		model := map[int]lease{}
		now, floor := began, began
		living, gone := 0, 0 // as the changes say; of them taken out by someone
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			i := rapid.IntRange(0, 4).Draw(t, "instance")
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				l := lease{time.Duration(rapid.IntRange(1, 20).Draw(t, "ttl")) * 500 * time.Millisecond, now}
				if _, ok := model[i]; !ok && rapid.Bool().Draw(t, "joins") {
					table.Join(as.instance(key(i), 1, l.ttl), now, now)
				} else {
					table.Start(as.instance(key(i), 1, l.ttl), now, now)
				}
				model[i] = l
			case 1:
				number := uint32(rapid.IntRange(0, 1).Draw(t, "numbered") * (i + 1)) // of the stream, or none
				table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key(i)), RecordedAt: now, StreamNumber: number}, now)
				if l, ok := model[i]; ok {
					l.heard = now
					model[i] = l
				}
			case 2:
				table.End(key(i), false)
				if _, ok := model[i]; ok {
					gone++
				}
				delete(model, i)
			case 3:
				table.Grace(now)
				floor = now
			default:
				now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "ticks")) * leases.Tick / 2)
			}
			now = now.Add(leases.Tick) // a lease is named once a tick
			got := map[domain.Key]bool{}
			table.Sweep(now)
			for _, l := range table.Overdue("default", 100) {
				if got[l.Key] {
					t.Fatalf("%s is named twice", l.Key)
				}
				got[l.Key] = true
			}
			for i, l := range model {
				heard := l.heard
				if floor.After(heard) {
					heard = floor
				}
				late := now.Sub(heard.Add(l.ttl))
				if got[key(i)] && late <= 0 || !got[key(i)] && late > leases.Tick {
					t.Fatalf("instance %d is %s late, overdue: %v", i, late, got[key(i)])
				}
			}
			census := table.Count("default")
			if len(got) > len(model) || table.Len() != len(model) || census.Leases != len(model) || census.Overdue != len(got) || table.Due() != len(got) {
				t.Fatalf("%d overdue, %d in the table, %d in the model, %+v", len(got), table.Len(), len(model), census)
			}
			for _, c := range table.Changes() {
				living += c.Joined - c.Lapsed
			}
			if living-gone != len(model)-len(got) {
				t.Fatalf("changes say that %d live, but %d of %d are overdue", living-gone, len(got), len(model))
			}
		}
	})
}

// What was heard last, and up to where the heartbeat stream is, is what an expiry is bound to.
func TestALeaseKnowsWhatRenewedItLast(t *testing.T) {
	as := newRegistered()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	beat := func(table *leases.Table, revision int, epoch int, after time.Duration) {
		table.Heard(&eventstore.RecordedEvent{
			EventData: eventstore.EventData{Data: fmt.Appendf(nil, `{"epoch":%d}`, epoch)},
			Stream:    eventstore.HeartbeatStream(key(1)), Revision: eventstore.Revision(revision), RecordedAt: at(after),
		}, at(after))
	}
	for name, c := range map[string]struct {
		do     func(*leases.Table)
		heard  time.Time
		events uint64
		lapses time.Duration
	}{
		"nothing since the start":         {func(*leases.Table) {}, time.Time{}, 0, 10 * time.Second},
		"a heartbeat":                     {func(t *leases.Table) { beat(t, 41, 2, 3*time.Second) }, at(3 * time.Second), 42, 13 * time.Second},
		"an older epoch's late heartbeat": {func(t *leases.Table) { beat(t, 41, 1, 3*time.Second) }, time.Time{}, 42, 10 * time.Second},
		"an update": {func(t *leases.Table) {
			t.Start(as.instance(key(1), 2, 5*time.Second), at(time.Second), at(time.Second))
		}, at(time.Second), 0, 6 * time.Second},
		"a registration after a heartbeat": {func(t *leases.Table) {
			beat(t, 0, 2, time.Second)
			t.Start(as.instance(key(1), 3, 10*time.Second), at(2*time.Second), at(2*time.Second))
		}, at(2 * time.Second), 1, 12 * time.Second},
	} {
		table := leases.NewTable(began, 0)
		table.Start(as.instance(key(1), 2, 10*time.Second), time.Time{}, began)
		c.do(table)
		l, ok := table.Find(key(1))
		if !ok || !l.LastHeard.Equal(c.heard) || l.HeartbeatEvents != c.events || !l.Deadline.Equal(at(c.lapses)) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// Leases that stay overdue cost nothing until something happens to them.
func TestOverdueLeasesAreNotLookedAtAgain(t *testing.T) {
	table, as := leases.NewTable(began, 0), newRegistered()
	for i := range 20_000 {
		table.Start(as.instance(key(i), 1, time.Second), time.Time{}, began)
	}
	now := began.Add(2 * time.Second)
	table.Sweep(now)
	if table.Due() != 20_000 {
		t.Fatalf("%d are overdue", table.Due())
	}
	table.Changes()
	if allocs := testing.AllocsPerRun(100, func() {
		now = now.Add(leases.Tick)
		table.Sweep(now)
		if len(table.Changes()) > 0 || len(table.Late()) != 1 {
			t.Fatal("something changed")
		}
	}); allocs > 3 {
		t.Errorf("a look at overdue leases makes %v allocations", allocs)
	}
	if got := len(table.Overdue("default", 10)); got != 10 {
		t.Errorf("%d of 10", got)
	}
	table.Grace(now)
	if table.Due() != 0 || len(table.Overdue("default", 10)) != 0 {
		t.Error("they are overdue although all began anew")
	}
}

func BenchmarkHeard(b *testing.B) {
	table, as := leases.NewTable(began, 0), newRegistered()
	beats := make([]eventstore.RecordedEvent, 20_000)
	for i := range beats {
		table.Start(as.instance(key(i), 1, 30*time.Second), time.Time{}, began)
		beats[i] = eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key(i)), RecordedAt: began, StreamNumber: uint32(i + 1)}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Heard(&beats[i%len(beats)], began)
		i++
	}
}

// An overdue lease has its index in a list where others have their place in the wheel. An old place of the lease must not be
// taken for that index.
func TestAnOldPlaceInTheWheelIsNoIndex(t *testing.T) {
	const instances = 200
	table, as := leases.NewTable(began, 0), newRegistered()
	for i := range instances { // each gets a place at the tick of 5 s, and then another
		table.Start(as.instance(key(i), 1, 5*time.Second), began, began)
		table.Start(as.instance(key(i), 1, time.Second), began, began)
	}
	for after := time.Duration(0); after < 8*time.Second; after += leases.Tick {
		table.Sweep(began.Add(after))
		if due := table.Due(); due != 0 && due != instances {
			t.Fatalf("after %s %d leases are overdue, want none or %d", after, due, instances)
		}
	}
	for i := range instances {
		table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key(i)), RecordedAt: began, StreamNumber: uint32(i + 1)}, began.Add(8*time.Second))
		if due := table.Due(); due != instances-i-1 {
			t.Fatalf("after %d renewals %d leases are overdue", i+1, due)
		}
	}
	table.Sweep(began.Add(10 * time.Second))
	if table.Due() != instances || table.Len() != instances {
		t.Errorf("%d of %d leases are overdue, want all of %d", table.Due(), table.Len(), instances)
	}
}
