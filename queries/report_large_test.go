package queries_test

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries"
)

// BenchmarkTenMillion makes reports, timelines and histograms of a log of ten million events in 30 days (ROLLCALL_LARGE=90 makes
// it 30 million in 90). All events are of one service of 200 instances. Building the log takes some minutes, so it is made only
// if ROLLCALL_LARGE names days.
func BenchmarkTenMillion(b *testing.B) {
	days := 0
	if _, err := fmt.Sscan(os.Getenv("ROLLCALL_LARGE"), &days); err != nil || days < 1 {
		b.Skip("ROLLCALL_LARGE is not a number of days")
	}
	r := start(b)
	h, err := history.Open(b.TempDir(), uuid.UUID{1}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	r.History = h
	span := time.Duration(days) * 24 * time.Hour
	events := days * 10_000_000 / 30
	began := time.Now()
	buildLarge(b, h, events, span)
	b.Logf("%d events took %s to apply", events, time.Since(began).Round(time.Second))
	r.Now = func() time.Time { return epoch.Add(span + time.Hour) }
	r.Service.Store = r.store
	at := func(d time.Duration) string { return epoch.Add(d).Format(time.RFC3339Nano) }
	hold := func(b *testing.B, f func() (int, error)) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		used := processorTime(b)
		n := 0
		for b.Loop() {
			var err error
			if n, err = f(); err != nil {
				b.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64((processorTime(b)-used).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
		b.ReportMetric(float64(n), "events")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/(1<<20), "MiB/op")
	}
	for _, c := range []struct {
		name string
		q    queries.ReportQuery
	}{
		{"report/service", queries.ReportQuery{Service: "web", Below: "190"}}, {"report/namespace", queries.ReportQuery{}}, {"report/instance", queries.ReportQuery{Service: "web", Instance: "i7"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.q.Namespace, c.q.From, c.q.To = "default", at(0), at(span)
			hold(b, func() (int, error) {
				got, err := r.Report(b.Context(), c.q)
				return got.Events, err
			})
		})
	}
	for _, c := range []struct {
		name   string
		q      queries.ReportQuery
		length time.Duration
	}{
		{"timeline/service, an hour", queries.ReportQuery{Service: "web"}, time.Hour},
		{"timeline/instance", queries.ReportQuery{Service: "web", Instance: "i7"}, span},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.q.Namespace, c.q.From, c.q.To = "default", at(0), at(c.length)
			hold(b, func() (int, error) {
				got, err := r.Timeline(b.Context(), c.q, "")
				n := 0
				for _, l := range got.Lanes {
					n += len(l.Intervals)
				}
				return n, err
			})
		})
	}
	for _, c := range []struct {
		name     string
		service  string
		from, to time.Duration
	}{{"histogram/a day", "", span / 2, span/2 + 24*time.Hour}, {"histogram/a day of the service", "web", span / 2, span/2 + 24*time.Hour}, {"histogram/all", "", 0, span}} {
		b.Run(c.name, func(b *testing.B) {
			q := queries.HistogramQuery{From: at(c.from), To: at(c.to), Buckets: "200"}
			q.Service = c.service
			hold(b, func() (int, error) {
				got, err := r.Histogram(b.Context(), q)
				return got.Total, err
			})
		})
	}
}

// processorTime is what the process has used, which other processes on the machine change less than the time that passes.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// buildLarge applies the events of 200 instances whose health and traffic change, of which one is replaced now and then.
func buildLarge(b *testing.B, h *history.History, events int, span time.Duration) {
	const instances = 200
	metadata := []byte(`{"actor":"deploy-bot","source":"10.1.2.3","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-3f1f0a2b4c5d","schema":2}`)
	encode := func(e domain.Event) eventstore.EventData {
		data, err := domain.Encode(e)
		if err != nil {
			b.Fatal(err)
		}
		return eventstore.EventData{Type: e.EventType(), Data: data, Metadata: metadata}
	}
	changes := []eventstore.EventData{
		encode(domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Critical, Source: domain.FromClient, Output: "latency over 300 ms"}),
		encode(domain.HealthChanged{Epoch: 1, From: domain.Critical, To: domain.Passing, Source: domain.FromClient}),
		encode(domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining, Reason: "deploy"}),
		encode(domain.TrafficChanged{Epoch: 1, From: domain.Draining, To: domain.Serving}),
	}
	ends := encode(domain.InstanceDeregistered{Epoch: 1, Reason: domain.ExitReason(137, 9)})
	var streams [instances]eventstore.StreamName
	for i := range streams {
		streams[i] = eventstore.LifecycleStream(key("web", fmt.Sprint("i", i)))
	}
	var batch []eventstore.RecordedEvent
	round, gone := make([]int, instances), make([]bool, instances)
	for i := range events {
		of := i % instances
		e := eventstore.RecordedEvent{
			Stream: streams[of], Position: eventstore.Position(i + 1), Revision: eventstore.Revision(i / instances),
			RecordedAt: epoch.Add(time.Duration(float64(span) * float64(i) / float64(events))).Truncate(time.Microsecond),
		}
		switch {
		case i < instances || gone[of]:
			e.EventData = encode(domain.InstanceRegistered{Epoch: 1, Details: versioned([]string{"eu", "us"}[of%2], fmt.Sprint(i/2_000_000))})
			gone[of] = false
		case round[of]%100 == 99:
			e.EventData, gone[of] = ends, true
		default:
			e.EventData = changes[round[of]%len(changes)]
		}
		round[of]++
		e.ID = uuid.UUID{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		if batch = append(batch, e); len(batch) == 20 || i == events-1 {
			if err := h.Apply(batch, e.Position); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}
