package live_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/live"
)

// awayStore cannot be reached while it is away.
type awayStore struct {
	*eventstoretest.Memory
	away atomic.Bool
}

func (s *awayStore) Head(ctx context.Context) (eventstore.Position, error) {
	if s.away.Load() {
		return 0, eventstore.ErrUnavailable
	}
	return s.Memory.Head(ctx)
}

// A start without the store knows no policies. When they could be read, the services that they are for are judged anew.
func TestPoliciesThatCouldNotBeReadAtTheStartCountLater(t *testing.T) {
	store := &awayStore{Memory: eventstoretest.NewMemory()}
	dir, id := t.TempDir(), uuid.New()
	last := register(t, store, 0, 3)
	first := open(t, store, snapshots(dir, id))
	run(t, first, last)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := domain.Encode(domain.PolicySet{Name: "p", PolicySpec: domain.PolicySpec{Namespace: "*", Service: "*", PanicThreshold: "50%"}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.PolicyStream, Events: []eventstore.EventData{{Type: domain.TypePolicySet, Data: data, Metadata: []byte(`{"schema":2}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	store.away.Store(true)
	state, err := live.Open(t.Context(), live.Options{Store: store, Snapshots: snapshots(dir, id), Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil || !state.Stale() || !state.Thresholds().None() {
		t.Fatalf("%v, stale %v, without policies %v", err, state.Stale(), state.Thresholds().None())
	}
	before := state.Catalog().View(key(0).ServiceKey())
	store.away.Store(false)
	run(t, state, results[0].Position)
	if state.Thresholds().None() || state.Touched() == 0 || state.Catalog().View(key(0).ServiceKey()) == before {
		t.Errorf("without policies %v, touched %d", state.Thresholds().None(), state.Touched())
	}
}

// Of several policies, the one with the greatest threshold counts, in whatever order they were set, changed and removed.
func TestTheGreatestThresholdCounts(t *testing.T) {
	store := eventstoretest.NewMemory()
	appendPolicy := func(events ...domain.Event) {
		t.Helper()
		for _, e := range events {
			data, err := domain.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.PolicyStream, Events: []eventstore.EventData{{Type: e.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	set := func(name string, service domain.Pattern, threshold domain.Amount) domain.Event {
		return domain.PolicySet{Name: name, PolicySpec: domain.PolicySpec{Namespace: "*", Service: service, PanicThreshold: threshold, KeepLast: 1}}
	}
	panics := func(service string, ready int) string {
		t.Helper()
		state, err := live.Open(t.Context(), live.Options{Store: store, Snapshots: snapshots(t.TempDir(), uuid.New()), Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		p := state.Thresholds().Panic(domain.ServiceKey{Namespace: "default", Service: service}, ready, 100)
		if p == nil {
			return ""
		}
		return p.Name
	}
	appendPolicy(set("b", "*", "30%"), set("a", "*", "30%"), set("low", "*", "9%"), set("none", "*", ""), set("pay", "pay", "100%"), set("gone", "*", "90%"), domain.PolicyRemoved{Name: "gone"}, domain.PolicyRemoved{Name: "never"})
	for _, c := range []struct {
		service string
		ready   int
		want    string
	}{{"web", 5, "a"}, {"web", 29, "a"}, {"web", 30, ""}, {"pay", 99, "pay"}, {"pay", 100, ""}} {
		if got := panics(c.service, c.ready); got != c.want {
			t.Errorf("%s with %d of 100 ready panics by %q, want %q", c.service, c.ready, got, c.want)
		}
	}
	appendPolicy(set("low", "*", "50%"), set("a", "*", ""), set("pay", "pay", "10%"))
	for _, c := range []struct {
		service string
		ready   int
		want    string
	}{{"web", 29, "low"}, {"web", 49, "low"}, {"pay", 5, "low"}, {"web", 50, ""}} {
		if got := panics(c.service, c.ready); got != c.want {
			t.Errorf("later, %s with %d of 100 ready panics by %q, want %q", c.service, c.ready, got, c.want)
		}
	}
}
