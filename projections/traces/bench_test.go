package traces_test

import (
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// BenchmarkOf is what the step of an event takes, which the history makes of each lifecycle event.
func BenchmarkOf(b *testing.B) {
	for name, event := range map[string]domain.Event{
		"registered": domain.InstanceRegistered{Epoch: 1, Owner: "pod-1", Details: domain.Details{
			Address: "10.0.0.1", Ports: map[string]uint16{"http": 8080, "grpc": 9090}, Tags: []string{"a", "b"}, Metadata: map[string]string{"team": "payments"},
			Zone: "eu-1", Version: "1.4.0", Weight: 100, Status: domain.Passing, TTL: domain.Duration(30 * time.Second),
		}},
		"health":  domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Warning, Source: domain.FromClient, Output: "latency over 300 ms"},
		"expired": domain.LeaseExpired{Epoch: 1, LastHeard: domain.LastHeard{LastHeartbeat: time.Unix(1, 0)}, TTL: domain.Duration(time.Minute)},
	} {
		b.Run(name, func(b *testing.B) {
			data, err := domain.Encode(event)
			if err != nil {
				b.Fatal(err)
			}
			e := eventstore.RecordedEvent{RecordedAt: time.Unix(1000, 0), EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"actor":"ann","schema":2}`)}}
			b.ReportAllocs()
			for b.Loop() {
				if s := traces.Of(&e); s.Kind < traces.Registered {
					b.Fatal(s)
				}
			}
		})
	}
}
