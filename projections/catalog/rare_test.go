package catalog_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// Whatever the numbers of an instance are, an entry tells them, also after further events and from a snapshot.
func TestAnEntryTellsItsNumbersHoweverLargeTheyAre(t *testing.T) {
	for _, of := range []struct {
		name     string
		epoch    uint64
		revision eventstore.Revision
		ttl      domain.Duration
	}{
		{"usual", 1, 0, domain.Duration(30 * time.Second)},
		{"without a lease", 2, 5, domain.NoTTL},
		{"the largest that are in an entry", 1<<32 - 1, 1<<32 - 4, domain.Duration((1<<32 - 2) * time.Millisecond)},
		{"a large epoch", 1 << 32, 0, domain.Duration(time.Second)},
		{"many events", 1, 1<<32 - 3, domain.Duration(time.Second)},
		{"a ttl that is no number of milliseconds", 1, 0, domain.Duration(1500*time.Millisecond + 1)},
		{"a long ttl", 1, 0, domain.Duration((1<<32 - 1) * time.Millisecond)},
	} {
		t.Run(of.name, func(t *testing.T) {
			key := domain.Key{Namespace: "default", Service: "s", ID: "i"}
			c := catalog.New()
			check := func(events int, in bool) {
				t.Helper()
				resumed, err := catalog.Load(bytes.NewReader(stateOf(c)))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range []*catalog.Entry{c.Find(key), resumed.Find(key)} {
					if e.Epoch() != of.epoch || e.Events() != uint64(of.revision)+uint64(events) || e.TTL() != time.Duration(of.ttl) {
						t.Errorf("the epoch is %d, after %d events, the ttl %s", e.Epoch(), e.Events(), e.TTL())
					}
					if e.Began() != 7 || !e.RegisteredAt().Equal(start) || e.Position != eventstore.Position(6+events) || e.ChangedAt().Sub(start) != time.Duration(events-1)*time.Second {
						t.Errorf("the epoch began at %d, %s, the newest event is at %d, %s", e.Began(), e.RegisteredAt(), e.Position, e.ChangedAt())
					}
					if (e.Maintenance() != nil) != in || e.Watched() {
						t.Errorf("the maintenance is %+v", e.Maintenance())
					}
				}
			}
			for i, event := range []domain.Event{
				domain.InstanceRegistered{Epoch: of.epoch, Details: domain.Details{Address: "10.0.0.5", Weight: 100, Status: domain.Passing, TTL: of.ttl}},
				domain.TrafficChanged{Epoch: of.epoch, From: domain.Serving, To: domain.Maintenance, Reason: "disk"},
				domain.HealthChanged{Epoch: of.epoch, From: domain.Passing, To: domain.Warning, Source: domain.FromClient},
				domain.TrafficChanged{Epoch: of.epoch, From: domain.Maintenance, To: domain.Serving},
			} {
				data, err := domain.Encode(event)
				if err != nil {
					t.Fatal(err)
				}
				mustApply(t, c, []eventstore.RecordedEvent{{
					EventData: eventstore.EventData{Type: event.EventType(), Data: data}, Stream: eventstore.LifecycleStream(key),
					Revision: of.revision + eventstore.Revision(i), Position: eventstore.Position(7 + i), RecordedAt: start.Add(time.Duration(i) * time.Second),
				}})
				check(i+1, i == 1 || i == 2)
			}
		})
	}
}
