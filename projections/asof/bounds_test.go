package asof_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// held is a store whose reads wait to be let go.
type held struct {
	eventstore.Store
	reading, most, reads atomic.Int64
	events               atomic.Int64 // that were read
	free                 chan struct{}
}

func (s *held) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		s.reads.Add(1)
		n := s.reading.Add(1)
		defer s.reading.Add(-1)
		s.most.Store(max(s.most.Load(), n))
		select {
		case <-s.free:
		case <-ctx.Done():
			yield(eventstore.RecordedEvent{}, ctx.Err())
			return
		}
		for e, err := range s.Store.ReadAll(ctx, opts) {
			s.events.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

func pastOf(t testing.TB, instances int) (*held, *asof.Past) {
	t.Helper()
	memory := eventstoretest.NewMemory()
	for i := range instances {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(i)}
		data, err := domain.Encode(domain.InstanceRegistered{Epoch: 1, Details: domain.Details{Address: "10.0.0.5", Status: domain.Passing}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := memory.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.LifecycleStream(key), Events: []eventstore.EventData{
			{Type: domain.TypeInstanceRegistered, Data: data, Metadata: []byte(`{"schema":1}`)}}}); err != nil {
			t.Fatal(err)
		}
	}
	store := &held{Store: memory, free: make(chan struct{})}
	logger := slog.New(slog.DiscardHandler)
	return store, asof.New(store, projections.Snapshots{Dir: t.TempDir(), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: uuid.New(), Logger: logger})
}

func TestManyMomentsAreBuiltFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, past := pastOf(t, 40)
		var right atomic.Int64
		for i := range 40 {
			for range 2 { // two ask for each
				go func() {
					c, err := past.At(t.Context(), eventstore.Position(i+1))
					if err == nil && c.Len() == i+1 {
						right.Add(1)
					}
				}()
			}
		}
		synctest.Wait()
		if n := store.reading.Load(); n != 2 {
			t.Errorf("%d catalogs are built at once", n)
		}
		close(store.free)
		synctest.Wait()
		if right.Load() != 80 || store.most.Load() != 2 || store.reads.Load() != 40 {
			t.Errorf("%d of 80 got their catalog, with %d reads, %d at once", right.Load(), store.reads.Load(), store.most.Load())
		}
	})
}

func TestABuildEndsWhenNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, past := pastOf(t, 10)
		first, leaveFirst := context.WithCancel(t.Context())
		second, leaveSecond := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, ctx := range []context.Context{first, second} {
			go func() {
				_, err := past.At(ctx, 5)
				ended <- err
			}()
		}
		synctest.Wait()
		leaveFirst()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the first was told %v", err)
		}
		synctest.Wait()
		if store.reading.Load() != 1 {
			t.Error("the build ended while another waited for it")
		}
		leaveSecond()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the second was told %v", err)
		}
		synctest.Wait()
		if store.reading.Load() != 0 {
			t.Error("the build goes on for nobody")
		}
		close(store.free)
		if c, err := past.At(t.Context(), 5); err != nil || c.Len() != 5 {
			t.Errorf("the next who asks gets %v", err)
		}
	})
}

func TestAWaiterForASlotHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, past := pastOf(t, 10)
		busy, free := context.WithCancel(t.Context())
		for i := range 2 {
			go func() { _, _ = past.At(busy, eventstore.Position(i+1)) }()
		}
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() {
			_, err := past.At(ctx, 7)
			ended <- err
		}()
		go func() {
			_, _, err := past.Missed(ctx, []domain.ServiceKey{{}}, 1, 7)
			ended <- err
		}()
		synctest.Wait()
		leave()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("who waited was told %v", err)
			}
		}
		free()
	})
}

func TestAFewMomentsAreKept(t *testing.T) {
	const n = 40
	store, past := pastOf(t, n)
	close(store.free)
	at := func(p eventstore.Position, reads int64) {
		t.Helper()
		before := store.reads.Load()
		if c, err := past.At(t.Context(), p); err != nil || c.Len() != int(p) {
			t.Fatal(p, err)
		}
		if got := store.reads.Load() - before; got != reads {
			t.Errorf("position %d took %d reads, want %d", p, got, reads)
		}
	}
	for p := eventstore.Position(1); p <= n; p++ {
		at(p, 1)
	}
	for p := eventstore.Position(n); p > n-24; p-- {
		at(p, 0)
	}
	at(1, 1)
}

// A moment near to one that was asked for costs the events that lie between.
func TestAMomentNearAnotherReadsOnlyTheEventsBetween(t *testing.T) {
	store, past := pastOf(t, 20_000)
	close(store.free)
	for _, c := range []struct{ at, most int }{{15_000, 15_000}, {15_100, 100}, {14_000, 14_000}, {14_500, 500}, {13_000, 13_000}, {15_000, 0}} {
		before := store.events.Load()
		got, err := past.At(t.Context(), eventstore.Position(c.at))
		if err != nil || got.Len() != c.at {
			t.Fatalf("at %d there are %d instances, %v", c.at, got.Len(), err)
		}
		if read := store.events.Load() - before; int(read) > c.most {
			t.Errorf("the moment %d took %d events, want at most %d", c.at, read, c.most)
		}
	}
}

// BenchmarkAt is what a moment costs that is not kept: 20,000 events after the nearest snapshot.
func BenchmarkAt(b *testing.B) {
	store, past := pastOf(b, 20_000)
	close(store.free)
	for i := 0; b.Loop(); i++ {
		if _, err := past.At(b.Context(), eventstore.Position(19_000+i%1000)); err != nil {
			b.Fatal(err)
		}
	}
}
