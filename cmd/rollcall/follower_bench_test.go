package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// BenchmarkFollower is the one measure of what the history takes beside an append: all processor time of a process, user and system, from
// opening the folders until they are closed, so that the engines' flushes, their merging and the collector are in it. 64 callers append to
// the embedded store, each append is synced, and the history follows at once. What the callers take to make the events is measured apart,
// and is in neither figure. Stores without and with a history come by turns, four of each, because other programs disturb a machine for
// seconds at a time.
func BenchmarkFollower(b *testing.B) {
	for _, kind := range []struct {
		name    string
		request func(n int) eventstore.AppendRequest
	}{{"registrations", newInstance}, {"changes", changedInstance}} {
		b.Run(kind.name, func(b *testing.B) {
			const turns = 4
			events := max(b.N/turns, 1)
			var made, alone, beside time.Duration
			for range turns {
				made += used(b, func() { call(events, func(n int) { kind.request(n) }) })
				alone += used(b, func() { appendAll(b, events, kind.request, false) })
				beside += used(b, func() { appendAll(b, events, kind.request, true) })
			}
			alone, beside = alone-made, beside-made
			b.ReportMetric(alone.Seconds()*1e6/float64(turns*events), "cpu-µs/append")
			b.ReportMetric((beside-alone).Seconds()*1e6/float64(turns*events), "cpu-µs/follower")
			b.ReportMetric(float64(beside-alone)/float64(alone), "follower/append")
		})
	}
}

func newInstance(n int) eventstore.AppendRequest {
	key := domain.Key{Namespace: "default", Service: fmt.Sprint("service-", n%100), ID: fmt.Sprint("i", n)}
	return eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key), Expected: eventstore.NoStream(), Events: []eventstore.EventData{{
		ID: uuid.UUID{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 5: 1}, Type: domain.TypeInstanceRegistered,
		Data:     fmt.Appendf(nil, `{"epoch":1,"address":"10.0.0.%d","ports":{"http":8080},"tags":["canary"],"metadata":{"team":"shop"},"zone":"eu-1a","version":"1","weight":100,"status":"passing","ttl":"1h0m0s"}`, n%250),
		Metadata: fmt.Appendf(nil, `{"actor":"anonymous","source":"127.0.0.1","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-%012x","schema":2}`, n),
	}}}
}

func changedInstance(n int) eventstore.AppendRequest {
	i := n % benchInstances
	key := domain.Key{Namespace: "default", Service: fmt.Sprint("service-", i%100), ID: fmt.Sprint("i", i)}
	return eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key), Expected: eventstore.Any(), Events: []eventstore.EventData{{
		ID: uuid.UUID{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 5: 1}, Type: domain.TypeHealthChanged,
		Data:     []byte(`{"epoch":1,"from":"passing","to":"warning","source":"client","output":"latency over 300 ms"}`),
		Metadata: fmt.Appendf(nil, `{"actor":"deploy-bot","source":"10.1.2.3","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-%012x","schema":1}`, n),
	}}}
}

// call runs do for some events from 64 callers.
func call(events int, do func(n int)) {
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for n := int(next.Add(1)); n <= events; n = int(next.Add(1)) {
				do(n)
			}
		})
	}
	callers.Wait()
}

// appendAll appends events, and has a history follow them to the last one.
func appendAll(b *testing.B, events int, request func(n int) eventstore.AppendRequest, following bool) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	logger, dir := slog.New(slog.DiscardHandler), b.TempDir()
	store, err := pebblestore.Open(filepath.Join(dir, "events"), pebblestore.Options{Logger: logger})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	var h *history.History
	var follower sync.WaitGroup
	if following {
		if h, err = history.Open(filepath.Join(dir, "history"), store.ID(), logger); err != nil {
			b.Fatal(err)
		}
		defer h.Close()
		defer follower.Wait()
		defer cancel()
		follower.Go(func() {
			if err := h.Run(ctx, store); err != nil {
				b.Error(err)
			}
		})
	}
	call(events, func(n int) {
		results, err := store.Append(ctx, nil, request(n))
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			b.Error(err)
		}
	})
	if !following {
		return
	}
	head, err := store.Head(ctx)
	if err == nil {
		err = h.WaitFor(ctx, head)
	}
	if err != nil {
		b.Error(err)
	}
}

// used is the processor time of the process while do runs.
func used(b *testing.B, do func()) time.Duration {
	before := processorTime(b)
	do()
	return processorTime(b) - before
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
