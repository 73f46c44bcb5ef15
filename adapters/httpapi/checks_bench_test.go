package httpapi_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// probed registers instances with a check that the registry looks at.
func probed(b *testing.B, service *commands.Service, n int) []domain.Key {
	b.Helper()
	keys := make([]domain.Key, n)
	requests := make([]commands.Request, n)
	for i := range keys {
		keys[i] = domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint("i", i)}
		requests[i].Command = domain.RegisterInstance{Key: keys[i], Details: domain.Details{
			Address: "10.0.0.5", Weight: 100, TTL: domain.Duration(time.Hour),
			Checks: []domain.Check{
				{ID: "http", Kind: domain.CheckHTTP, URL: "http://10.0.0.5:8080/health", InitialStatus: domain.Passing},
				{ID: "worker", Kind: domain.CheckTTL, TTL: domain.Duration(time.Hour), InitialStatus: domain.Passing},
			},
		}}
	}
	for _, r := range service.DoAll(b.Context(), commands.Caller{Actor: "bench"}, requests) {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	return keys
}

// beat sends one heartbeat after the other until done is closed, and gives their times.
func beat(service *commands.Service, keys []domain.Key, done <-chan struct{}) (times []time.Duration) {
	beats := service.Heartbeats(commands.Caller{Actor: "bench"})
	for i := 0; ; i++ {
		select {
		case <-done:
			return times
		default:
		}
		began := time.Now()
		beats.Send(context.Background(), domain.SendHeartbeat{Key: keys[i%len(keys)]})
		times = append(times, time.Since(began))
	}
}

// BenchmarkTenThousandChecksFailTogether reports 10,000 failures in batches of 100 while heartbeats come.
// Larger batches are not faster, and delay heartbeats more: with batches of 500 their 99th percentile is five times that at rest.
func BenchmarkTenThousandChecksFailTogether(b *testing.B) {
	const n = 10_000
	var service *commands.Service
	startConfigured(b, pebblestore.Options{}, func(c *httpapi.Config) { service = c.Commands })
	keys := probed(b, service, n)
	status := domain.Critical
	measure := func(during func()) []time.Duration {
		done, times := make(chan struct{}), make(chan []time.Duration, 1)
		go func() { times <- beat(service, keys, done) }()
		during()
		close(done)
		return <-times
	}
	p99 := func(times []time.Duration) float64 {
		slices.Sort(times)
		return float64(times[len(times)*99/100].Microseconds())
	}
	rest := measure(func() { time.Sleep(2 * time.Second) })
	var took time.Duration
	var loaded []time.Duration
	for b.Loop() {
		loaded = append(loaded, measure(func() {
			began := time.Now()
			for batch := range slices.Chunk(keys, 100) {
				requests := make([]commands.Request, len(batch))
				for i, key := range batch {
					requests[i].Command = domain.ReportProbe{Key: key, Epoch: 1, Check: "http", Status: status, Output: "GET /health answered 503", By: "n1", Latency: time.Millisecond}
				}
				for _, r := range service.DoAll(b.Context(), commands.Caller{Actor: "rollcall", Via: "probe"}, requests) {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
			}
			took = time.Since(began)
		})...)
		status = map[domain.Status]domain.Status{domain.Critical: domain.Passing, domain.Passing: domain.Critical}[status]
	}
	b.ReportMetric(took.Seconds(), "s/10000-events")
	b.ReportMetric(p99(rest), "rest-p99-µs")
	b.ReportMetric(p99(loaded), "loaded-p99-µs")
}

// BenchmarkPass compares a report that only renews a ttl check with a heartbeat.
func BenchmarkPass(b *testing.B) {
	var service *commands.Service
	startConfigured(b, pebblestore.Options{}, func(c *httpapi.Config) { service = c.Commands })
	keys := probed(b, service, 1000)
	caller := commands.Caller{Actor: "bench"}
	b.Run("heartbeats/batch", func(b *testing.B) {
		b.ReportAllocs()
		var results []commands.Result
		for b.Loop() {
			results = service.Heartbeats(caller).SendAll(b.Context(), keys, nil, results[:0])
		}
	})
	b.Run("passes/batch", func(b *testing.B) {
		b.ReportAllocs()
		reports := make([]domain.ReportCheck, len(keys))
		for i, key := range keys {
			reports[i] = domain.ReportCheck{Key: key, Check: "worker", Status: domain.Passing}
		}
		for b.Loop() {
			service.Heartbeats(caller).ReportAll(b.Context(), reports, nil)
		}
	})
	b.Run("heartbeat/one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			service.Heartbeats(caller).Send(b.Context(), domain.SendHeartbeat{Key: keys[0]})
		}
	})
	b.Run("pass/one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			service.Heartbeats(caller).Report(b.Context(), domain.ReportCheck{Key: keys[0], Check: "worker", Status: domain.Passing})
		}
	})
}
