package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/cmd/rollcall/bench"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries"
)

// benchEvents is how many lifecycle events the audit benchmarks stand on: 1M, or what the
// environment says (docs/performance.md has figures of 10M).
func benchEvents(b *testing.B) int {
	s := os.Getenv("ROLLCALL_BENCH_EVENTS")
	if s == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

const benchInstances = 12_000

// lifeEvent is the nth event of a fleet of benchInstances that register, change and leave.
func lifeEvent(n int) (domain.Key, domain.Event) {
	i, round := n%benchInstances, n/benchInstances
	key := domain.Key{Namespace: "default", Service: fmt.Sprint("service-", i%100), ID: fmt.Sprint("i", i)}
	details := domain.Details{
		Address: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Ports: map[string]uint16{"http": 8080}, Weight: 100, Status: domain.Passing, TTL: domain.Duration(domain.DefaultTTL),
		Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"}, Zone: "eu-1a", Version: fmt.Sprint(round),
	}
	epoch := uint64(round/5 + 1)
	switch round % 5 {
	case 0:
		return key, domain.InstanceRegistered{Epoch: epoch, Details: details}
	case 1:
		return key, domain.HealthChanged{Epoch: epoch, From: domain.Passing, To: domain.Warning, Source: domain.FromClient, Output: "latency over 300 ms"}
	case 2:
		return key, domain.InstanceUpdated{Epoch: epoch, Changed: []string{"version"}, Details: details}
	case 3:
		return key, domain.TrafficChanged{Epoch: epoch, From: domain.Serving, To: domain.Draining, Reason: "deploy"}
	}
	return key, domain.InstanceDeregistered{Epoch: epoch, Reason: "scaled down"}
}

func lifeRequest(n int) eventstore.AppendRequest {
	key, event := lifeEvent(n)
	data, err := domain.Encode(event)
	if err != nil {
		panic(err)
	}
	return eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key), Events: []eventstore.EventData{{
		Type: event.EventType(), Data: data, Metadata: []byte(`{"actor":"deploy-bot","source":"10.1.2.3","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-3f1f0a2b4c5d","schema":1}`),
	}}}
}

// BenchmarkAudit measures what the audit answers over a long log.
func BenchmarkAudit(b *testing.B) {
	events := benchEvents(b)
	ctx := context.Background()
	logger := slog.New(slog.DiscardHandler)
	dir := b.TempDir()
	store, err := pebblestore.Open(filepath.Join(dir, "events"), pebblestore.Options{Logger: logger})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for n := 0; n < events; {
		batch := make([]eventstore.AppendRequest, 0, 2000)
		for ; len(batch) < cap(batch) && n < events; n++ {
			batch = append(batch, lifeRequest(n))
		}
		if _, err := store.Append(ctx, nil, batch...); err != nil {
			b.Fatal(err)
		}
	}
	if err := store.Compact(ctx); err != nil { // a long log has been compacted in time
		b.Fatal(err)
	}
	defer fewerCollections()()
	s := settings{data: dir}
	snapshots := catalogSnapshots(s, store.ID(), logger)
	began := time.Now()
	registry, err := live.Open(ctx, live.Options{Store: store, Now: time.Now, Logger: logger, Snapshots: snapshots})
	if err != nil {
		b.Fatal(err)
	}
	if err := registry.Close(); err != nil {
		b.Fatal(err)
	}
	catalogTook := time.Since(began)
	runtime.GC()
	// Before the history is made, whose tables the engine goes on to rearrange.
	b.Run("as-of", func(b *testing.B) {
		past := asof.New(store, snapshots)
		var took []time.Duration
		for b.Loop() {
			began := time.Now()
			if _, err := past.At(ctx, eventstore.Position(1+rand.IntN(events))); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		b.Logf("the first look took %s", took[0])
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
		b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "worst-ms")
	})
	began = time.Now()
	folder := filepath.Join(dir, "history")
	if err := history.Rebuild(ctx, folder, store, store.ID(), logger, func(eventstore.Position, eventstore.Position) {}); err != nil {
		b.Fatal(err)
	}
	historyTook := time.Since(began)
	h, err := history.Open(folder, store.ID(), logger)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	rate := func(took time.Duration) float64 { return float64(events) / took.Seconds() }

	b.Run("rebuild", func(b *testing.B) {
		for b.Loop() { // measured above, once
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(rate(catalogTook), "catalog-events/s")
		b.ReportMetric(rate(historyTook), "history-events/s")
		b.ReportMetric(float64(diskUse(b, filepath.Join(dir, "events")))/float64(events), "log-B/event")
		b.ReportMetric(float64(diskUse(b, filepath.Join(dir, "snapshots")))/float64(events), "snapshots-B/event")
		b.ReportMetric(float64(diskUse(b, folder))/float64(events), "history-B/event")
	})
	b.Run("catalog-fold", func(b *testing.B) { // no snapshots are written: read, decode, apply
		for b.Loop() {
			if _, err := live.Open(ctx, live.Options{Store: store, Now: time.Now, Logger: logger, SnapshotEvery: 1 << 60,
				Snapshots: projections.Snapshots{Dir: b.TempDir(), Name: "catalog", Logger: logger}}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("instance-history", func(b *testing.B) {
		found := 0
		for b.Loop() {
			page, err := h.Find(ctx, history.Query{Namespace: "default", Service: "service-42", ID: "i42", Newest: true, Limit: 1000})
			found = len(page.Entries)
			if err != nil || found < min(1000, events/benchInstances) {
				b.Fatalf("%d entries, %v", found, err)
			}
		}
		b.ReportMetric(float64(found), "entries")
	})
	b.Run("replay", func(b *testing.B) {
		var line []byte
		n := 0
		for b.Loop() {
			for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Limit: 1_000_000}) {
				if err != nil {
					b.Fatal(err)
				}
				line = eventstore.AppendJSON(line[:0], &e)
				n++
			}
		}
		b.SetBytes(int64(len(line)))
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("replay-http", func(b *testing.B) {
		server := httptest.NewServer(httpapi.New(httpapi.Config{
			Queries: &queries.Service{Live: registry, Store: store, StoreID: store.ID().String(), History: h, Now: time.Now, Stopping: ctx},
			Logger:  logger, Metrics: http.NotFoundHandler(),
		}))
		defer server.Close()
		for b.Loop() {
			resp, err := http.Get(server.URL + "/v1/events")
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(n)
		}
		b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			v, err := history.Verify(store.ReadAll(ctx, eventstore.ReadAllOptions{}), history.Evidence{Leaves: h.AllLeaves()}, nil)
			if err != nil || v.Fault != "" {
				b.Fatal(v, err)
			}
		}
		b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

func diskUse(b *testing.B, dir string) int64 {
	size, err := bench.FolderSize(dir, "")
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// BenchmarkAppendBesideHistory appends registrations from 64 callers, without and with the history
// (and its tree) following: what the audit costs those who wait for an append.
func BenchmarkAppendBesideHistory(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprint("history=", with), func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			logger := slog.New(slog.DiscardHandler)
			dir := b.TempDir()
			store, err := pebblestore.Open(filepath.Join(dir, "events"), pebblestore.Options{Logger: logger})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			var following sync.WaitGroup
			if with {
				h, err := history.Open(filepath.Join(dir, "history"), store.ID(), logger)
				if err != nil {
					b.Fatal(err)
				}
				following.Go(func() {
					if err := h.Run(ctx, store); err != nil {
						b.Error(err)
					}
				})
				defer h.Close()
			}
			defer following.Wait()
			defer cancel()
			var n atomic.Int64
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := store.Append(ctx, nil, lifeRequest(int(n.Add(1)))); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
