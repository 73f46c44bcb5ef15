package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// backend is the event store with the functions that the server needs.
type backend struct {
	eventstore.Store
	id        uuid.UUID
	err       func() error     // why the store takes no appends, or nil
	diskBytes func() uint64    // of its files on this machine
	now       func() time.Time // never before what the store recorded last, where it can say
	// embedded is the embedded store; nil, or it gives nil: there is none.
	embedded func() *pebblestore.Store
	cluster  *raftstore.Store // nil: the node is in no cluster
	// watch runs what the store needs beside it until the context ends.
	watch func(ctx context.Context) error
}

func embedded(store string) bool { return store == "embedded" }

// remote says whether commits take a way over the network, and other nodes read the same events.
func (s *settings) remote() bool { return !embedded(s.store) || s.cluster.on() }

// isESDB says whether a store is a connection string of EventStoreDB or KurrentDB.
func isESDB(store string) bool {
	for _, scheme := range []string{"esdb", "esdb+discover", "kurrentdb", "kurrentdb+discover"} {
		if strings.HasPrefix(store, scheme+"://") {
			return true
		}
	}
	return false
}

func openBackend(ctx context.Context, s settings, observed *metrics.Metrics, logger *slog.Logger, at func(what string, cause func() error)) (*backend, error) {
	if !embedded(s.store) {
		return openESDB(ctx, s, logger, at)
	}
	if s.cluster.on() {
		return openCluster(ctx, s, observed, logger, at)
	}
	if err := refuseTraces(s.data); err != nil {
		return nil, err
	}
	at("the event store is being opened", nil)
	options := embeddedOptions(s, observed, logger)
	options.MergeLater = true
	store, err := pebblestore.Open(filepath.Join(s.data, "events"), options)
	if errors.Is(err, pebblestore.ErrReplica) {
		return nil, fmt.Errorf("%s belongs to a node of a cluster: start it with --node and --cluster, or take it out of the cluster with rollcall cluster leave", s.data)
	}
	if err != nil {
		return nil, err
	}
	trim := func(keep time.Duration) error { _, err := store.Retain(keep); return err }
	return &backend{
		Store: store, id: store.ID(), err: store.Err, diskBytes: store.DiskUsage, now: store.Now, embedded: func() *pebblestore.Store { return store },
		watch: func(ctx context.Context) error {
			store.Merge()
			return tick(ctx, time.Hour, retain(trim, s.retention, logger))
		},
	}, nil
}

// connectTimeout is how long a start waits for a cluster before the node serves its snapshot.
const connectTimeout = 5 * time.Second

// openESDB connects to the cluster. If the cluster cannot be reached, a node that has used the cluster before serves its
// snapshot, and a new node waits.
func openESDB(ctx context.Context, s settings, logger *slog.Logger, at func(what string, cause func() error)) (*backend, error) {
	store, err := esdbstore.Open(s.store, esdbstore.Options{Retention: s.retention, Logger: logger})
	if err != nil {
		return nil, usageError{err}
	}
	at("the event store is looked for", store.Err)
	file := filepath.Join(s.data, "store-id")
	known, err := loadStoreID(s.data, logger)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	wait, cancel := ctx, context.CancelFunc(func() {})
	if known != uuid.Nil {
		wait, cancel = context.WithTimeout(ctx, connectTimeout)
	}
	defer cancel()
	b := &backend{Store: store, id: known, err: store.Err, now: time.Now, watch: func(context.Context) error { return nil }}
	err = store.Ready(wait)
	if err != nil && known != uuid.Nil && ctx.Err() == nil {
		logger.Warn("the event store cannot be reached: the catalog is served from the last snapshot, read-only, until it can", "cause", err)
		b.watch = func(ctx context.Context) error {
			if err := store.Reached(ctx); err != nil {
				return nil // it ends
			}
			_, err := checkStoreID(ctx, store, file, known)
			return err
		}
		return b, nil
	}
	if err == nil {
		b.id, err = checkStoreID(ctx, store, file, known)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return b, nil
}

func readStoreID(file string) (uuid.UUID, error) {
	b, err := durable.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.ParseBytes([]byte(strings.TrimSpace(string(b))))
	if err != nil {
		return uuid.Nil, durable.Damaged{Path: file, Cause: err}
	}
	return id, nil
}

// checkStoreID refuses a cluster that is not the one this data folder belongs to.
func checkStoreID(ctx context.Context, store *esdbstore.Store, file string, known uuid.UUID) (uuid.UUID, error) {
	id, err := store.ID(ctx)
	if err != nil {
		return id, err
	}
	if known != uuid.Nil && id != known {
		return id, fmt.Errorf("the event store is %s, but this data folder belongs to %s: two clusters are mixed up", id, known)
	}
	if known == uuid.Nil {
		err = durable.WriteFile(file, []byte(id.String()+"\n"), 0o640)
	}
	return id, err
}

// retain removes heartbeats that are older than the retention, at every tick.
func retain(trim func(keep time.Duration) error, retention time.Duration, logger *slog.Logger) func(context.Context, <-chan time.Time) error {
	return func(ctx context.Context, ticks <-chan time.Time) error {
		for {
			if err := trim(retention); err != nil {
				logger.Error("old heartbeats could not be removed", "cause", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticks:
			}
		}
	}
}
