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

// Whatever happens, Overdue names just the leases that a plain look at all of them would name.
func TestOverdueIsWhatAPlainModelSays(t *testing.T) {
	type lease struct {
		ttl   time.Duration
		heard time.Time
	}
	rapid.Check(t, func(t *rapid.T) {
		table := leases.NewTable(began, 0)
		model := map[int]lease{}
		now, floor := began, began
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			i := rapid.IntRange(0, 4).Draw(t, "instance")
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				l := lease{time.Duration(rapid.IntRange(1, 20).Draw(t, "ttl")) * 500 * time.Millisecond, now}
				table.Start(key(i), 1, l.ttl, now)
				model[i] = l
			case 1:
				number := uint32(rapid.IntRange(0, 1).Draw(t, "numbered") * (i + 1)) // of the stream, or none
				table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key(i)), RecordedAt: now, StreamNumber: number}, now)
				if l, ok := model[i]; ok {
					l.heard = now
					model[i] = l
				}
			case 2:
				table.End(key(i))
				delete(model, i)
			case 3:
				table.Grace(now)
				floor = now
			default:
				now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "ticks")) * leases.Tick / 2)
			}
			now = now.Add(leases.Tick) // a lease is named once a tick
			got := map[domain.Key]bool{}
			for _, l := range table.Overdue(now) {
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
			if len(got) > len(model) || table.Len() != len(model) {
				t.Fatalf("%d overdue, %d in the table, %d in the model", len(got), table.Len(), len(model))
			}
		}
	})
}

func TestRenewals(t *testing.T) {
	for _, c := range []struct {
		leases, overdue, expired int
		enough                   bool
	}{
		{9, 9, 0, true}, {10, 1, 0, true}, {10, 2, 0, false}, {100, 15, 0, true}, {100, 16, 0, false},
		{90, 5, 10, true}, {90, 6, 10, false}, {0, 0, 0, true},
	} {
		var p leases.Preservation
		p.Expired(c.expired, began)
		if got := p.Count(c.leases, c.overdue, began.Add(time.Second)); got.Enough() != c.enough {
			t.Errorf("%d leases, %d overdue, %d expired lately: %+v", c.leases, c.overdue, c.expired, got)
		}
		if got := p.Count(c.leases, 0, began.Add(2*time.Minute)); !got.Enough() {
			t.Errorf("what expired long ago still counts: %+v", got)
		}
	}
}

func BenchmarkHeard(b *testing.B) {
	table := leases.NewTable(began, 0)
	beats := make([]eventstore.RecordedEvent, 100_000)
	for i := range beats {
		table.Start(key(i), 1, 30*time.Second, began)
		beats[i] = eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key(i)), RecordedAt: began, StreamNumber: uint32(i + 1)}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Heard(&beats[i%len(beats)], began)
		i++
	}
}
