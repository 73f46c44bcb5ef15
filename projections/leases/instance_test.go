package leases_test

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// registered makes entries of instances, as a catalog has them after they were registered.
type registered struct{ catalog *catalog.Catalog }

func newRegistered() registered { return registered{catalog.New()} }

func (r registered) instance(key domain.Key, epoch uint64, ttl time.Duration) *catalog.Entry {
	event := domain.InstanceRegistered{Epoch: epoch, Details: domain.Details{Address: "10.0.0.5", Status: domain.Passing, TTL: domain.Duration(ttl)}}
	data, err := domain.Encode(event)
	if err != nil {
		panic(err)
	}
	_, entry, err := r.catalog.Apply(&eventstore.RecordedEvent{
		EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)},
		Stream:    eventstore.LifecycleStream(key), RecordedAt: began,
	})
	if err != nil {
		panic(err)
	}
	return entry
}
