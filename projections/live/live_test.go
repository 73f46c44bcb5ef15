package live_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
	"github.com/rollcall-registry/rollcall/projections/live"
)

var ctx = context.Background()

func key(i int) domain.Key {
	return domain.Key{Namespace: "default", Service: fmt.Sprint("s", i%3), ID: fmt.Sprint(i)}
}

func register(t *testing.T, store eventstore.Store, from, to int) (last eventstore.Position) {
	t.Helper()
	for i := from; i < to; i++ {
		data, err := domain.Encode(domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Address: "10.0.0.5", Status: domain.Passing, TTL: domain.Duration(time.Minute)}})
		if err != nil {
			t.Fatal(err)
		}
		results, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key(i)), Events: []eventstore.EventData{
			{Type: domain.TypeInstanceRegistered, Data: data, Metadata: []byte(`{"schema":1}`)}}})
		if err != nil {
			t.Fatal(err)
		}
		last = results[0].Position
	}
	return last
}

func snapshots(dir string, store uuid.UUID) projections.Snapshots {
	return projections.Snapshots{Dir: dir, Name: "catalog", Version: catalog.SnapshotVersion, StoreID: store, Logger: slog.New(slog.DiscardHandler)}
}

func open(t *testing.T, store eventstore.Store, s projections.Snapshots) *live.State {
	t.Helper()
	r, err := live.Open(ctx, live.Options{Store: store, Snapshots: s, Now: time.Now, Logger: s.Logger, SnapshotEvery: 10})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run applies what the store holds, up to a position, and stops.
func run(t *testing.T, r *live.State, until eventstore.Position) {
	t.Helper()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- r.Run(running) }()
	if err := r.WaitFor(ctx, until); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestARestartGoesOnFromTheSnapshot(t *testing.T) {
	store, dir, id := eventstoretest.NewMemory(), t.TempDir(), uuid.New()
	r := open(t, store, snapshots(dir, id))
	run(t, r, register(t, store, 0, 25))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	at, err := snapshots(dir, id).Marks()
	if err != nil || len(at) == 0 || at[len(at)-1] != (projections.Mark{Position: 25, Events: 25}) {
		t.Fatalf("snapshots at %v, %v; want one at 25", at, err)
	}
	register(t, store, 25, 30)
	again := open(t, store, snapshots(dir, id))
	if again.Catalog().Len() != 30 || again.Leases().Len() != 30 || again.Position() != 30 {
		t.Fatalf("%d instances, %d leases at %d", again.Catalog().Len(), again.Leases().Len(), again.Position())
	}
}

func TestABadSnapshotIsPutAside(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut short":     func(b []byte) []byte { return b[:len(b)-3] },
		"empty":         func(b []byte) []byte { return nil },
		"something else": func(b []byte) []byte {
			return []byte("hello, is this a snapshot? no, it is not one at all, whatever it says")
		},
		"another version": func(b []byte) []byte { b[21]++; return b },
	} {
		t.Run(name, func(t *testing.T) {
			store, dir, id := eventstoretest.NewMemory(), t.TempDir(), uuid.New()
			r := open(t, store, snapshots(dir, id))
			run(t, r, register(t, store, 0, 5))
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
			if err != nil || len(files) != 1 {
				t.Fatalf("files: %v, %v", files, err)
			}
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], spoil(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if again := open(t, store, snapshots(dir, id)); again.Catalog().Len() != 5 {
				t.Errorf("%d instances, want 5", again.Catalog().Len())
			}
			if _, err := os.Stat(files[0] + ".bad"); err != nil {
				t.Errorf("the bad snapshot is not put aside: %v", err)
			}
		})
	}
}

func TestAnEventThatCannotBeAppliedIsSkippedAndCounted(t *testing.T) {
	store := eventstoretest.NewMemory()
	r := open(t, store, snapshots(t.TempDir(), uuid.New()))
	register(t, store, 0, 1)
	for _, e := range []eventstore.EventData{
		{Type: "InstanceTeleported", Data: []byte(`{}`), Metadata: []byte(`{}`)},
		{Type: domain.TypeHealthChanged, Data: []byte(`not JSON`), Metadata: []byte(`{}`)},
		{Type: domain.TypeInstanceUpdated, Data: []byte(`[]`), Metadata: []byte(`{}`)},
	} {
		if _, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key(0)), Events: []eventstore.EventData{e}}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, r, register(t, store, 1, 2))
	if r.Skipped() != 3 || r.Catalog().Len() != 2 {
		t.Errorf("%d skipped, %d instances; want 3 and 2", r.Skipped(), r.Catalog().Len())
	}
}

// After a restart the feed has the newest changes, whether they are fewer or more than it keeps; of what
// came before it does not pretend to know.
func TestTheFeedBeginsWithTheEndOfTheReplay(t *testing.T) {
	for _, changes := range []int{30, feed.Capacity + 30} {
		store := eventstoretest.NewMemory()
		last := register(t, store, 0, changes)
		id := uuid.New()
		s := snapshots(t.TempDir(), id)
		r, err := live.Open(ctx, live.Options{Store: store, Snapshots: s, Now: time.Now, Logger: s.Logger})
		if err != nil {
			t.Fatal(err)
		}
		oldest := last - eventstore.Position(min(changes, feed.Capacity))
		for _, service := range []domain.ServiceKey{{}, key(1).ServiceKey()} {
			got, ok := r.Feed().Since(service, oldest)
			want := min(changes, feed.Capacity)
			if service != (domain.ServiceKey{}) {
				want /= 3
			}
			if !ok || len(got) < want || len(got) > want+1 || got[len(got)-1].Position() < last-2 {
				t.Errorf("%d changes: after %d the feed of %v has %d, %v", changes, oldest, service, len(got), ok)
			}
			if _, ok := r.Feed().Since(service, oldest-5); ok && oldest > 0 {
				t.Errorf("%d changes: the feed of %v claims to know what came after %d", changes, service, oldest-5)
			}
		}
		if position := r.Feed().Position(); position != last {
			t.Errorf("the feed is at %d, want %d", position, last)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Services that have become empty are not in a snapshot. The position of the newest change must not fall with them.
func TestTheNewestChangeDoesNotFallWithARestart(t *testing.T) {
	store, dir, id := eventstoretest.NewMemory(), t.TempDir(), uuid.New()
	r := open(t, store, snapshots(dir, id))
	register(t, store, 0, 2)
	data, err := domain.Encode(domain.InstanceDeregistered{Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	results, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key(1)), Expected: eventstore.Any(), Events: []eventstore.EventData{
		{Type: domain.TypeInstanceDeregistered, Data: data, Metadata: []byte(`{"schema":1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, r, results[0].Position)
	if changed, described := r.Catalog().Changed(), r.Catalog().Described(); changed != 3 || described != 3 {
		t.Fatalf("the newest change is at %d and %d", changed, described)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, store, snapshots(dir, id))
	if changed, described := again.Catalog().Changed(), again.Catalog().Described(); changed != 3 || described != 3 {
		t.Errorf("after the restart the newest change is at %d and %d, and was at 3", changed, described)
	}
}
