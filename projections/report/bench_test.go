package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/report"
)

// BenchmarkFold is what an event of a service of 200 instances takes, once it is decoded. Memory does not grow with the
// number of events: allocs/op are those of an event.
func BenchmarkFold(b *testing.B) {
	const instances = 200
	f := report.NewFold(report.Options{From: zero, To: zero.Add(30 * 24 * time.Hour), Least: 190})
	var all []domain.Key
	for i := range instances {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", i)}
		all = append(all, key)
		f.Apply(&report.Event{Key: key, At: zero, Event: domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Status: domain.Passing, Zone: "eu", Version: "1"}}})
	}
	status := [2]domain.Event{domain.HealthChanged{To: domain.Critical}, domain.HealthChanged{To: domain.Passing}}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		f.Apply(&report.Event{Key: all[n%instances], At: zero.Add(time.Duration(n) * 100 * time.Millisecond), Event: status[n/instances%2]})
		n++
	}
}
