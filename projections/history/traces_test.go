package history_test

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// Trace gives the steps of the log that a tracing picks, StateAt the state to which they lead, and EventsAt their events, also
// after restarts.
func TestTracesAreThoseOfTheFilteredLog(t *testing.T) {
	store := eventstoretest.NewMemory()
	store.Now = (&clock{began, 3 * time.Second}).now
	rng := rand.New(rand.NewPCG(5, 9))
	fleet := eventstoretest.Fleet{Store: store, Pick: rng.IntN}
	dir := t.TempDir()
	applied := eventstore.Position(0)
	h := open(t, dir)
	for range 5 {
		if err := fleet.Do(ctx, 100); err != nil {
			t.Fatal(err)
		}
		feed(t, h, store, applied, 7)
		applied, _ = store.Head(ctx)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = open(t, dir)
	}
	defer h.Close()
	type step struct {
		of domain.Key
		at eventstore.Position
		traces.Step
	}
	var log []step
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := e.Stream.InstanceKey(); ok && !e.IsHeartbeat() {
			s := traces.Of(&e)
			s.Leaf = int64(len(log))
			log = append(log, step{k, e.Position, s})
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		q := history.Tracing{Namespace: "shop", After: eventstore.Position(rapid.IntRange(0, int(applied)).Draw(t, "after"))}
		q.UpTo = q.After + eventstore.Position(rapid.IntRange(0, int(applied)).Draw(t, "length"))
		if rapid.Bool().Draw(t, "in service") {
			q.Service = "cart"
			q.ID = rapid.SampledFrom([]string{"", "i1", "i2"}).Draw(t, "id")
		}
		var want, got []traces.Step
		var leaves []int64
		var positions []eventstore.Position
		states, registered := map[domain.Key]traces.State{}, map[domain.Key]int64{}
		for i := range log {
			s := &log[i]
			if s.of.Namespace != q.Namespace || q.Service != "" && s.of.Service != q.Service || q.ID != "" && s.of.ID != q.ID {
				continue
			}
			if s.at > q.After && s.at <= q.UpTo {
				want, leaves, positions = append(want, s.Step), append(leaves, s.Leaf), append(positions, s.at)
			}
			if s.at <= q.UpTo {
				states[s.of] = states[s.of].After(&s.Step)
				if s.Kind == traces.Registered {
					registered[s.of] = s.At
				}
			}
		}
		err := history.Trace(ctx, h, q, func(k domain.Key) domain.Key { return k }, func(of domain.Key, s *traces.Step) bool {
			if log[s.Leaf].of != of {
				t.Fatalf("leaf %d is of %s, want %s", s.Leaf, of, log[s.Leaf].of)
			}
			got = append(got, *s)
			return true
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v gives %+v, want %+v (%v)", q, got, want, err)
		}
		events, err := h.EventsAt(ctx, leaves)
		if err != nil || len(events) != len(leaves) {
			t.Fatalf("%d events of %d leaves: %v", len(events), len(leaves), err)
		}
		for i, leaf := range leaves {
			if events[leaf].Position != positions[i] {
				t.Fatalf("leaf %d is the event at %d, want %d", leaf, events[leaf].Position, positions[i])
			}
		}
		if q.ID == "" || q.UpTo == 0 {
			return
		}
		key := domain.Key{Namespace: q.Namespace, Service: q.Service, ID: q.ID}
		state, began, err := h.StateAt(ctx, key, q.UpTo)
		if err != nil || !reflect.DeepEqual(state, states[key]) || state.Live() && began != registered[key] {
			t.Fatalf("%s at %d is %+v, registered at %d, want %+v at %d (%v)", key, q.UpTo, state, began, states[key], registered[key], err)
		}
	})
}
