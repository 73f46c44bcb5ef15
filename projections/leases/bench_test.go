package leases_test

import (
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// BenchmarkLook measures what the leases cost at every tick, ten times a second: Sweep, and a look of self-preservation,
// which are given in microseconds beside the time of a whole tick, heartbeats included.
//
// docs/performance.md has figures.
func BenchmarkLook(b *testing.B) {
	for _, c := range []struct {
		name          string
		leases, every int // each every-th is overdue; 1: all are
		held          bool
	}{
		{"400,000 of which 12 % are overdue", 400_000, 8, false},
		{"1,000,000 overdue that are held", 1_000_000, 1, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			const ttl = 30 * time.Second
			const interval = 100 // ticks between two heartbeats of an instance
			table, as := leases.NewTable(began, c.leases), newRegistered()
			beats := make([][]eventstore.RecordedEvent, interval) // by the tick in which they are sent
			for i := range c.leases {
				k := in("default", i)
				table.Start(as.instance(k, 1, ttl), time.Time{}, began)
				if i%c.every != 0 {
					beats[i%interval] = append(beats[i%interval], eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(k), RecordedAt: began, StreamNumber: uint32(i + 1)})
				}
			}
			standings := &leases.Standings{}
			if c.held {
				standings = standings.After(domain.SelfPreservationStarted{Namespace: "default", Forced: true}, "ann", began)
			}
			var preservation leases.Preservation
			now, tick := began, 0
			var sweeping, looking, longestSweep, longestLook time.Duration
			step := func() {
				now = now.Add(leases.Tick)
				for i := range beats[tick%interval] {
					table.Heard(&beats[tick%interval][i], now)
				}
				tick++
				start := time.Now()
				table.Sweep(now)
				swept := time.Since(start)
				preservation.Look(table, standings, began, now)
				looked := time.Since(start) - swept
				sweeping, looking = sweeping+swept, looking+looked
				longestSweep, longestLook = max(longestSweep, swept), max(longestLook, looked)
			}
			for now.Sub(began) <= ttl+time.Second { // the overdue lapse all in one tick
				step()
			}
			lapse := longestSweep // the one Sweep in which they did
			if want := (c.leases + c.every - 1) / c.every; table.Due() != want {
				b.Fatalf("%d are overdue, want %d", table.Due(), want)
			}
			sweeping, looking, longestSweep, longestLook = 0, 0, 0, 0
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
			b.ReportMetric(float64(lapse.Microseconds()), "lapse-µs")
			b.ReportMetric(float64(sweeping.Microseconds())/float64(b.N), "sweep-µs")
			b.ReportMetric(float64(looking.Microseconds())/float64(b.N), "look-µs")
			b.ReportMetric(float64(longestSweep.Microseconds()), "longest-sweep-µs")
			b.ReportMetric(float64(longestLook.Microseconds()), "longest-look-µs")
		})
	}
}
