package queries_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries"
)

// rig is a door for reads over a store in memory.
type rig struct {
	*queries.Service
	t       testing.TB
	store   *eventstoretest.Memory
	stop    context.CancelFunc // the registry shuts down
	segment int64              // entries of a segment of the history; 0: as many as usual
}

// start runs the live catalog over a store until the test ends. There is no history.
func start(t testing.TB) *rig {
	t.Helper()
	store := eventstoretest.NewMemory()
	snapshots := projections.Snapshots{Dir: t.TempDir(), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: uuid.UUID{1}, Logger: slog.New(slog.DiscardHandler)}
	state, err := live.Open(t.Context(), live.Options{Store: store, Snapshots: snapshots, Now: time.Now, Logger: snapshots.Logger})
	if err != nil {
		t.Fatal(err)
	}
	stopping, stop := context.WithCancel(context.Background())
	running, halt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- state.Run(running) }()
	t.Cleanup(func() {
		stop()
		halt()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &rig{
		Service: &queries.Service{Live: state, Past: asof.New(store, snapshots), Store: store, Now: time.Now, Stopping: stopping},
		t:       t, store: store, stop: stop,
	}
}

// withHistory gives the door a history, which has everything up to the store's head when settle returns.
func (r *rig) withHistory() (settle func()) {
	r.t.Helper()
	h, err := history.OpenSegmented(r.t.TempDir(), uuid.UUID{1}, slog.New(slog.DiscardHandler), r.segment)
	if err != nil {
		r.t.Fatal(err)
	}
	r.History = h
	running, halt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(running, r.store) }()
	r.t.Cleanup(func() {
		halt()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		if err := h.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return func() {
		head, err := r.store.Head(r.t.Context())
		if err == nil {
			err = r.Live.WaitFor(r.t.Context(), head)
		}
		if err == nil {
			err = h.WaitFor(r.t.Context(), head)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func key(service, id string) domain.Key {
	return domain.Key{Namespace: "default", Service: service, ID: id}
}

// append puts an event into a stream, and gives its position.
func (r *rig) append(stream eventstore.StreamName, event domain.Event) eventstore.Position {
	r.t.Helper()
	data, err := domain.Encode(event)
	if err != nil {
		r.t.Fatal(err)
	}
	results, err := r.store.Append(context.Background(), nil, eventstore.AppendRequest{
		Stream: stream, Expected: eventstore.Any(), Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":1,"actor":"ann"}`)}},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return results[0].Position
}

// register registers an instance in a zone, and waits until the catalog shows it.
func (r *rig) register(k domain.Key, zone string) eventstore.Position {
	r.t.Helper()
	epoch := uint64(1)
	if e := r.Live.Catalog().Find(k); e != nil {
		return r.apply(r.append(eventstore.LifecycleStream(k), domain.InstanceUpdated{Epoch: e.Epoch(), Details: details(zone), Changed: []string{"zone"}}))
	}
	return r.apply(r.append(eventstore.LifecycleStream(k), domain.InstanceRegistered{Epoch: epoch, Details: details(zone)}))
}

func (r *rig) deregister(k domain.Key) eventstore.Position {
	r.t.Helper()
	return r.apply(r.append(eventstore.LifecycleStream(k), domain.InstanceDeregistered{Epoch: 1}))
}

func (r *rig) apply(p eventstore.Position) eventstore.Position {
	r.t.Helper()
	if err := r.Live.WaitFor(context.Background(), p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

func details(zone string) domain.Details {
	return domain.Details{Address: "10.0.0.5", Status: domain.Passing, TTL: domain.Duration(time.Hour), Zone: zone, Weight: 100}
}
