package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/report"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// BenchmarkFold is what an event of a service of 200 instances takes, once its step is read. Memory does not grow with the
// number of events: allocs/op are those of an event.
func BenchmarkFold(b *testing.B) {
	const instances = 200
	f := report.NewFold(report.Options{From: zero, To: zero.Add(30 * 24 * time.Hour), Least: 190})
	var all []*report.Instance
	for i := range instances {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", i)}
		all = append(all, f.Instance(key))
		f.Apply(all[i], step(zero, domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Status: domain.Passing, Zone: "eu", Version: "1"}}))
	}
	changes := [2]*traces.Step{step(zero, domain.HealthChanged{To: domain.Critical}), step(zero, domain.HealthChanged{To: domain.Passing})}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		change := changes[n/instances%2]
		change.At = zero.Add(time.Duration(n) * 100 * time.Millisecond).UnixNano()
		f.Apply(all[n%instances], change)
		n++
	}
}

func step(at time.Time, event domain.Event) *traces.Step {
	s := traces.OfEvent(event)
	s.At = at.UnixNano()
	return &s
}
