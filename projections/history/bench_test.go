package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
)

// openWhole opens a history whose segments are as long as usual.
func openWhole(b *testing.B) *history.History {
	h, err := history.Open(b.TempDir(), storeID, quiet)
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// BenchmarkApply is what the history takes for an event, in batches of 1,000.
func BenchmarkApply(b *testing.B) {
	const batch = 1000
	for _, kind := range []string{"registrations", "lifecycle", "heartbeats"} {
		b.Run(kind, func(b *testing.B) {
			h := openWhole(b)
			defer h.Close()
			events := make([]eventstore.RecordedEvent, batch)
			position := eventstore.Position(0)
			for b.Loop() {
				for i := range events {
					position++
					key := domain.Key{Namespace: "default", Service: fmt.Sprint("service-", i%100), ID: fmt.Sprint("i", int(position)%10_000)}
					e := &events[i]
					if kind == "registrations" { // of new instances
						key.ID = fmt.Sprint("i", position)
					}
					*e = eventstore.RecordedEvent{Position: position, RecordedAt: began.Add(time.Duration(position) * time.Microsecond)}
					if kind == "heartbeats" {
						e.Stream = eventstore.HeartbeatStream(key)
						e.EventData = eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`)}
						continue
					}
					e.Stream = eventstore.LifecycleStream(key)
					if kind == "registrations" {
						e.EventData = eventstore.EventData{
							ID: uuid.UUID{byte(i)}, Type: domain.TypeInstanceRegistered,
							Data:     fmt.Appendf(nil, `{"epoch":1,"address":"10.0.0.%d","ports":{"http":8080},"tags":["canary"],"metadata":{"team":"shop"},"zone":"eu-1a","version":"1","weight":100,"status":"passing","ttl":"1h0m0s"}`, i%250),
							Metadata: []byte(`{"actor":"anonymous","source":"127.0.0.1","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-3f1f0a2b4c5d","schema":2}`),
						}
						continue
					}
					e.EventData = eventstore.EventData{
						ID: uuid.UUID{byte(i)}, Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1,"from":"passing","to":"warning","source":"client","output":"latency over 300 ms"}`),
						Metadata: []byte(`{"actor":"deploy-bot","source":"10.1.2.3","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-3f1f0a2b4c5d","schema":1}`),
					}
				}
				if err := h.Apply(events, position); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkTree is what tamper evidence adds to an event: one leaf, and a 256th of a block. Hold it
// against the whole of BenchmarkApply, and against an append.
func BenchmarkTree(b *testing.B) {
	h := openWhole(b)
	defer h.Close()
	canonical := make([]byte, 500)
	b.SetBytes(int64(len(canonical)))
	add := h.BenchmarkTree()
	for b.Loop() {
		if err := add(canonical); err != nil {
			b.Fatal(err)
		}
	}
}
