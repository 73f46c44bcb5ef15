package commands_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
)

var (
	ctx    = context.Background()
	caller = commands.Caller{Actor: "ann", Source: "10.1.1.1", Via: "http", RequestID: "r-1"}
)

// node is a registry without its outside: store, projections, commands and expiry.
type node struct {
	store       eventstore.Store
	projections *live.State
	service     *commands.Service
	listening   *leases.Listening
	state       func() error // why the store takes no appends; nil: it does not say
	stop        func()
}

// start runs a node over the store. In a synctest bubble its clock is the bubble's.
func start(t testing.TB, store eventstore.Store, preserve bool) *node {
	t.Helper()
	return startAt(t, store, preserve, time.Now)
}

// startAt is start with another clock.
func startAt(t testing.TB, store eventstore.Store, preserve bool, now func() time.Time) *node {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	r, err := live.Open(ctx, live.Options{
		Store: store, Now: now, Logger: logger,
		Snapshots: projections.Snapshots{Dir: t.TempDir(), Name: "catalog", Version: 1, StoreID: uuid.New(), Logger: logger},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{store: store, projections: r}
	n.listening = leases.NewListening(r.Leases())
	if s, ok := store.(interface{ Err() error }); ok {
		n.state = s.Err
	}
	n.service = commands.New(commands.ReportAppends(store, n.listening), func() commands.Catalog { return r.Catalog() }, r, nil)
	running, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		if err := r.Run(running); err != nil {
			t.Error(err)
		}
	})
	ticker := time.NewTicker(100 * time.Millisecond)
	expiry := &commands.Expiry{Service: n.service, Projections: r, Now: now, Logger: logger, Preserve: preserve, Listening: n.listening, State: n.state}
	expiry.Leadership, _ = store.(eventstore.Leadership)
	if memory, ok := store.(*eventstoretest.Memory); ok {
		expiry.Recorded = memory.Now
	}
	group.Go(func() { _ = expiry.Run(running, ticker.C) })
	n.stop = func() {
		cancel()
		group.Wait()
		ticker.Stop()
	}
	return n
}

func (n *node) held() bool {
	standings, _ := n.projections.SelfPreservation()
	return standings.Of("default").On
}

func key(id string) domain.Key {
	return domain.Key{Namespace: "default", Service: "checkout", ID: id}
}

func details(ttl time.Duration) domain.Details {
	return domain.Details{Address: "10.0.0.5", Weight: 100, Status: domain.Passing, TTL: domain.Duration(ttl)}
}

func (n *node) do(t testing.TB, c domain.Command) commands.Result {
	t.Helper()
	r := n.service.Do(ctx, caller, commands.Request{Command: c})
	if r.Err != nil {
		t.Fatalf("%T: %v", c, r.Err)
	}
	return r
}

func (n *node) types(t testing.TB, stream eventstore.StreamName) (types []string) {
	t.Helper()
	for e, err := range n.store.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, e.Type)
	}
	return types
}

func TestACommandIsSeenWhenItIsAnswered(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	r := n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
	if e := n.projections.Catalog().Find(key("a")); e == nil || e.Position != r.Position || e.Revision() != r.Revision || !r.Created || r.Epoch != 1 {
		t.Fatalf("answered %+v, the catalog has %+v", r, e)
	}
	n.do(t, domain.DeregisterInstance{Key: key("a")})
	if e := n.projections.Catalog().Find(key("a")); e != nil {
		t.Fatalf("still in the catalog: %+v", e)
	}
	if r := n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: key("a")}}); !errors.Is(r.Err, domain.UnknownInstance{Key: key("a"), Deregistered: true}) {
		t.Fatalf("a heartbeat after good-bye gave %v", r.Err)
	}
	if r := n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}); r.Epoch != 2 || r.Revision != 2 {
		t.Fatalf("the second registration gave %+v", r)
	}
}

func TestTheSameDetailsOnlyRenew(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
	if r := n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}); r.Created || r.Revision != 0 {
		t.Fatalf("answered %+v", r)
	}
	if got := n.types(t, eventstore.LifecycleStream(key("a"))); len(got) != 1 {
		t.Errorf("the lifecycle has %v", got)
	}
	if got := n.types(t, eventstore.HeartbeatStream(key("a"))); len(got) != 1 {
		t.Errorf("the heartbeats are %v", got)
	}
}

func TestEventsCarryTheirCaller(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	odd := commands.Caller{Actor: "an\"n\u2028", Source: "::1", Via: "cli", RequestID: "r-2"}
	n.service.Do(ctx, odd, commands.Request{Command: domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}})
	n.do(t, domain.SendHeartbeat{Key: key("a")})
	want := map[string]string{
		domain.TypeInstanceRegistered: `{"actor":"an\"n\u2028","source":"::1","via":"cli","request_id":"r-2","schema":2}`,
		domain.TypeHeartbeatReceived:  `{"actor":"ann","source":"10.1.1.1","via":"http","schema":2}`,
	}
	for e, err := range n.store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil || string(e.Metadata) != want[e.Type] {
			t.Errorf("%s has metadata %s (%v), want %s", e.Type, e.Metadata, err, want[e.Type])
		}
	}
}

func TestAStaleIfMatchIsRefused(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
	zero := uint64(0)
	drain := commands.Request{Command: domain.ChangeTraffic{Key: key("a"), Traffic: domain.Draining}, IfMatch: &zero}
	if r := n.service.Do(ctx, caller, drain); r.Err != nil || r.Revision != 1 {
		t.Fatalf("the right revision gave %+v", r)
	}
	drain.Command = domain.ChangeTraffic{Key: key("a"), Traffic: domain.Serving}
	if r := n.service.Do(ctx, caller, drain); !errors.Is(r.Err, domain.RevisionMismatch{Key: key("a"), Want: 0, Actual: 1}) {
		t.Fatalf("the wrong revision gave %+v", r)
	}
}

func TestOneBadItemHarmsNoOther(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	results := n.service.DoAll(ctx, caller, []commands.Request{
		{Command: domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}},
		{Command: domain.RegisterInstance{Key: key("b"), Details: domain.Details{Address: "not an address"}}},
		{Command: domain.SendHeartbeat{Key: key("nobody")}},
		{Command: domain.DeregisterInstance{Key: key("a")}},
		{Command: domain.RegisterInstance{Key: key("c"), Details: details(time.Minute)}},
	})
	for i, bad := range []bool{false, true, true, true, false} {
		if (results[i].Err != nil) != bad {
			t.Errorf("item %d gave %v", i, results[i].Err)
		}
	}
	if n.projections.Catalog().Len() != 2 {
		t.Errorf("the catalog has %d instances, want 2", n.projections.Catalog().Len())
	}
}

func TestABatchsHeartbeatsAreOfTheirOwnEpochsAndCaller(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	epochs := []int{1, 3, 1, 70, 3} // of the instances "0", "1" and so on
	keys := make([]domain.Key, len(epochs))
	for i, epoch := range epochs {
		keys[i] = key(strconv.Itoa(i))
		for e := range epoch {
			if e > 0 {
				n.do(t, domain.DeregisterInstance{Key: keys[i]})
			}
			n.do(t, domain.RegisterInstance{Key: keys[i], Details: details(time.Minute)})
		}
	}
	for round, actor := range []string{"ann", "ben"} {
		results := n.service.Heartbeats(commands.Caller{Actor: actor}).SendAll(ctx, keys, nil, nil)
		for i, r := range results {
			if r.Err != nil || r.Epoch != uint64(epochs[i]) {
				t.Errorf("%s's heartbeat of %v gave %+v", actor, keys[i], r)
				continue
			}
			data := domain.HeartbeatReceived{Epoch: uint64(epochs[i])}.Encode()
			for e, err := range n.store.ReadStream(ctx, eventstore.HeartbeatStream(keys[i]), eventstore.ReadOptions{From: eventstore.Revision(round)}) {
				if err != nil || e.Position != r.Position || !bytes.Equal(e.Data, data) || !bytes.Contains(e.Metadata, []byte(actor)) {
					t.Errorf("%s's heartbeat of %v, %+v, stands as %s with %s at %d (%v)", actor, keys[i], r, e.Data, e.Metadata, e.Position, err)
				}
			}
		}
	}
}

func TestRacingCommandsAllTakeEffect(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
	var group sync.WaitGroup
	for i := range 5 {
		group.Go(func() {
			d := details(time.Minute)
			d.Version = fmt.Sprint(i)
			n.do(t, domain.RegisterInstance{Key: key("a"), Details: d})
		})
	}
	group.Wait()
	if got := n.types(t, eventstore.LifecycleStream(key("a"))); len(got) != 6 {
		t.Errorf("the lifecycle has %d events, want 6", len(got))
	}
}

func TestALeaseWithoutHeartbeatsLapsesSoonAfterItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, eventstoretest.NewMemory(), true)
		defer n.stop()
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(3 * time.Second)})
		n.do(t, domain.RegisterInstance{Key: key("b"), Details: details(3 * time.Second)})
		for range 20 {
			time.Sleep(time.Second)
			n.do(t, domain.SendHeartbeat{Key: key("b")})
			synctest.Wait()
		}
		registered := eventstore.RecordedEvent{}
		for e, err := range n.store.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == domain.TypeInstanceRegistered {
				registered = e
				continue
			}
			if after := e.RecordedAt.Sub(registered.RecordedAt); after <= 3*time.Second || after > 3500*time.Millisecond {
				t.Errorf("it lapsed after %s", after)
			}
			event, err := domain.DecodeEvent(e.Type, e.Data)
			lapsed, ok := event.(domain.LeaseExpired)
			if err != nil || !ok || lapsed.LastHeard != (domain.LastHeard{LastRegistered: registered.RecordedAt}) {
				t.Errorf("it ended with %+v, %v", event, err)
			}
		}
		if c := n.projections.Catalog(); c.Find(key("a")) != nil || c.Find(key("b")) == nil {
			t.Error("the wrong instance is gone")
		}
		r := n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: key("a")}})
		if !errors.Is(r.Err, domain.LeaseLapsed{Key: key("a")}) {
			t.Errorf("a heartbeat after expiry gave %v", r.Err)
		}
	})
}

func TestARestartGivesEveryLeaseItsTTLAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		n := start(t, store, true)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(3 * time.Second)})
		time.Sleep(2 * time.Second)
		heard := time.Now()
		n.do(t, domain.SendHeartbeat{Key: key("a")})
		n.stop()
		time.Sleep(time.Hour)
		n = start(t, store, true)
		defer n.stop()
		time.Sleep(2900 * time.Millisecond)
		if n.projections.Catalog().Find(key("a")) == nil {
			t.Fatal("it lapsed although nobody could hear it")
		}
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		types := n.types(t, eventstore.LifecycleStream(key("a")))
		if types[len(types)-1] != domain.TypeLeaseExpired {
			t.Fatalf("it did not lapse: %v", types)
		}
		for e, err := range store.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{From: 1}) {
			event, _ := domain.DecodeEvent(e.Type, e.Data)
			if lapsed, ok := event.(domain.LeaseExpired); err != nil || !ok || !lapsed.LastHeartbeat.Equal(heard) || !lapsed.LastRegistered.IsZero() {
				t.Errorf("it ended with %+v, want the heartbeat of %s", event, heard)
			}
		}
	})
}

func TestSelfPreservationHoldsExpiryAndEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, eventstoretest.NewMemory(), true)
		defer n.stop()
		var all, back []commands.Request
		for i := range 40 {
			k := key(fmt.Sprint(i))
			all = append(all, commands.Request{Command: domain.RegisterInstance{Key: k, Details: details(5 * time.Second)}})
			if i < 38 {
				back = append(back, commands.Request{Command: domain.SendHeartbeat{Key: k}})
			}
		}
		n.service.DoAll(ctx, caller, all)
		time.Sleep(time.Minute) // nobody is heard
		synctest.Wait()
		if on := n.held(); !on || n.projections.Catalog().Len() != 40 {
			t.Fatalf("self-preservation is %v, %d instances are left", on, n.projections.Catalog().Len())
		}
		for range 4 { // nearly all are heard again
			n.service.DoAll(ctx, caller, back)
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if on := n.held(); on || n.projections.Catalog().Len() != 38 {
			t.Fatalf("self-preservation is %v, %d instances are left", on, n.projections.Catalog().Len())
		}
		got := n.types(t, eventstore.RegistryStream)
		if len(got) != 2 || got[0] != domain.TypeSelfPreservationStarted || got[1] != domain.TypeSelfPreservationEnded {
			t.Errorf("the registry's story is %v", got)
		}
	})
}

func TestWhatStaysSilentIsLetGoInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, eventstoretest.NewMemory(), true)
		defer n.stop()
		for i := range 20 {
			n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(5 * time.Second)})
		}
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		if on := n.held(); on || n.projections.Catalog().Len() != 0 {
			t.Errorf("self-preservation is %v, %d instances are left", on, n.projections.Catalog().Len())
		}
	})
}

// Two nodes over one store look at the same leases: each lease expires once.
func TestOfTwoNodesOneExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		a, b := start(t, store, false), start(t, store, false)
		defer a.stop()
		defer b.stop()
		for i := range 30 {
			a.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(2 * time.Second)})
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for i := range 30 {
			if got := a.types(t, eventstore.LifecycleStream(key(fmt.Sprint(i)))); len(got) != 2 {
				t.Errorf("instance %d has %v", i, got)
			}
		}
	})
}

func BenchmarkHeartbeat(b *testing.B) {
	n := start(b, &discard{Memory: eventstoretest.NewMemory()}, true)
	defer n.stop()
	for i := range 1000 {
		n.do(b, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(24 * time.Hour)})
	}
	keys := make([]domain.Key, 1000)
	for i := range keys {
		keys[i] = key(fmt.Sprint(i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if r := n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: keys[i%len(keys)]}}); r.Err != nil {
			b.Fatal(r.Err)
		}
		i++
	}
}

// discard takes heartbeats in at no cost, so that a benchmark shows the command's own.
type discard struct{ *eventstoretest.Memory }

var appended = eventstore.AppendResult{Position: 1}

func (d *discard) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if requests[0].Stream.IsHeartbeat() {
		return append(into, appended), nil
	}
	return d.Memory.Append(ctx, into, requests...)
}
