package commands_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func TestThePredecessorsLateCommandsDoNotReachItsSuccessor(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	n.do(t, domain.RegisterInstance{Key: key("a"), Owner: "old", Details: details(time.Minute)})
	r := n.do(t, domain.RegisterInstance{Key: key("a"), Owner: "new", Details: details(time.Minute)})
	if !r.Created || r.Epoch != 2 || r.Revision != 1 {
		t.Fatalf("the successor's registration gave %+v", r)
	}
	stale, other := domain.StaleEpoch{Key: key("a"), Epoch: 1, Live: 2}, domain.OtherOwner{Key: key("a"), Owner: "old", Live: "new"}
	one := uint64(1)
	for _, c := range []struct {
		command domain.Command
		refused error
	}{
		{domain.DeregisterInstance{Key: key("a"), Epoch: 1}, stale},
		{domain.DeregisterInstance{Key: key("a"), Owner: "old"}, other},
		{domain.SendHeartbeat{Key: key("a"), Epoch: 1}, stale},
		{domain.SendHeartbeat{Key: key("a"), Owner: "old"}, other},
	} {
		for _, match := range []*uint64{nil, &one} { // the successor's revision does not let a stranger in
			if r := n.service.Do(ctx, caller, commands.Request{Command: c.command, IfMatch: match}); !errors.Is(r.Err, c.refused) {
				t.Errorf("%+v gave %+v", c.command, r)
			}
		}
	}
	keys := []domain.Key{key("a"), key("b"), key("a")}
	n.do(t, domain.RegisterInstance{Key: key("b"), Details: details(time.Minute)})
	for i, r := range n.service.Heartbeats(caller).SendAll(ctx, keys[:2], []commands.Precondition{{Owner: "old"}, {Epoch: 1}}, nil) {
		if want := []error{other, nil}[i]; !errors.Is(r.Err, want) {
			t.Errorf("heartbeat %d gave %+v, want %v", i, r, want)
		}
	}
	for _, r := range n.service.Heartbeats(caller).SendAll(ctx, keys[:1], []commands.Precondition{{Epoch: 2, Owner: "new"}}, nil) {
		if r.Err != nil || r.Epoch != 2 {
			t.Errorf("the successor's heartbeat gave %+v", r)
		}
	}
	if got := n.types(t, eventstore.HeartbeatStream(key("a"))); len(got) != 1 {
		t.Errorf("the refused heartbeats stand: %v", got)
	}
}

func TestIfMatchHoldsWhereNothingIsLive(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	zero := uint64(0)
	register := commands.Request{Command: domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}, IfMatch: &zero}
	live := commands.Request{Command: register.Command, IfLive: true}
	nothing := domain.NothingToMatch{Key: key("a")}
	for range 2 { // never registered, then deregistered
		for _, request := range []commands.Request{register, live} {
			if r := n.service.Do(ctx, caller, request); !errors.Is(r.Err, nothing) {
				t.Fatalf("%+v gave %+v", request, r)
			}
		}
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
		if r := n.service.Do(ctx, caller, live); r.Err != nil || r.Created {
			t.Fatalf("a renewal of what is live gave %+v", r)
		}
		n.do(t, domain.DeregisterInstance{Key: key("a")})
	}
}

func TestMaintenanceIsKeptAndEndedThroughTheStore(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	register := domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)}
	n.do(t, register)
	n.do(t, domain.ChangeTraffic{Key: key("a"), Traffic: domain.Maintenance, Reason: "disk"})
	n.do(t, domain.DeregisterInstance{Key: key("a")})
	n.do(t, register)
	entry := n.projections.Catalog().Find(key("a"))
	if m := entry.Maintenance(); entry.Traffic() != domain.Maintenance || m == nil || m.By != "ann" || m.Reason != "disk" || m.At.IsZero() || !m.At.Before(entry.RegisteredAt()) && !m.At.Equal(entry.RegisteredAt()) {
		t.Fatalf("registered again it is %+v, in %+v", entry, m)
	}
	n.do(t, domain.DeregisterInstance{Key: key("a")})
	n.do(t, domain.ChangeTraffic{Key: key("a"), Traffic: domain.Serving, Reason: "mended"})
	r := n.do(t, register)
	if entry := n.projections.Catalog().Find(key("a")); entry.Traffic() != domain.Serving || entry.Maintenance() != nil || r.Epoch != 3 {
		t.Errorf("after maintenance it is %+v, answered %+v", entry, r)
	}
	if n.projections.Skipped() != 0 {
		t.Errorf("the catalog could not read %d events", n.projections.Skipped())
	}
}

// A catalog that is behind the store refuses nobody.
func TestARefusalRestsOnTheStream(t *testing.T) {
	store := eventstoretest.NewMemory()
	a, b := start(t, store, true), start(t, store, true)
	defer a.stop()
	a.do(t, domain.RegisterInstance{Key: key("a"), Owner: "old", Details: details(time.Minute)})
	if err := b.projections.WaitFor(ctx, 1); err != nil {
		t.Fatal(err)
	}
	b.stop() // its catalog stays where it is
	a.do(t, domain.RegisterInstance{Key: key("a"), Owner: "new", Details: details(time.Minute)})
	for _, c := range []domain.Command{domain.SendHeartbeat{Key: key("a"), Epoch: 2}, domain.SendHeartbeat{Key: key("a"), Owner: "new"}} {
		if r := b.service.Do(ctx, caller, commands.Request{Command: c}); r.Err != nil || r.Epoch != 2 {
			t.Errorf("%+v gave %+v", c, r)
		}
	}
	for _, r := range b.service.Heartbeats(caller).SendAll(ctx, []domain.Key{key("a")}, []commands.Precondition{{Owner: "new"}}, nil) {
		if r.Err != nil || r.Epoch != 2 {
			t.Errorf("the batch gave %+v", r)
		}
	}
}

func TestWhatCannotBeReadIsPassedOverAlike(t *testing.T) {
	for _, data := range []string{`{}`, `nonsense`, `{"epoch":1,"address":"a","weight":1,"status":"fine","ttl":"30s"}`, `{"epoch":1,x,"address":"a","weight":1,"status":"passing","ttl":"30s"}`} {
		store := eventstoretest.NewMemory()
		_, err := store.Append(ctx, nil, eventstore.AppendRequest{
			Stream: eventstore.LifecycleStream(key("a")),
			Events: []eventstore.EventData{{Type: domain.TypeInstanceRegistered, Data: []byte(data), Metadata: []byte(`{}`)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		n := start(t, store, true)
		if r := n.service.Do(ctx, caller, commands.Request{Command: domain.SendHeartbeat{Key: key("a")}}); !errors.Is(r.Err, domain.UnknownInstance{Key: key("a")}) {
			t.Errorf("%s: a heartbeat gave %+v", data, r)
		}
		r := n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
		if e := n.projections.Catalog().Find(key("a")); !r.Created || r.Epoch != 1 || r.Revision != 1 || e == nil || e.Revision() != 1 {
			t.Errorf("%s: the registration gave %+v, the catalog has %+v", data, r, e)
		}
		n.stop()
	}
}

func TestAnAddressOfAnOlderVersionRenews(t *testing.T) {
	store := eventstoretest.NewMemory()
	_, err := store.Append(ctx, nil, eventstore.AppendRequest{
		Stream: eventstore.LifecycleStream(key("..")),
		Events: []eventstore.EventData{{Type: domain.TypeInstanceRegistered, Data: []byte(`{"epoch":1,"address":"0.0.0.0","weight":100,"status":"passing","ttl":"1m0s"}`), Metadata: []byte(`{"schema":1}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, store, true)
	defer n.stop()
	d := details(time.Minute)
	d.Address = "0.0.0.0"
	if r := n.do(t, domain.RegisterInstance{Key: key(".."), Details: d}); r.Created || r.Revision != 0 {
		t.Errorf("the same registration gave %+v", r)
	}
	d.Zone = "eu"
	if r := n.service.Do(ctx, caller, commands.Request{Command: domain.RegisterInstance{Key: key(".."), Details: d}}); !errors.As(r.Err, new(domain.InvalidField)) {
		t.Errorf("another registration gave %+v", r)
	}
	n.do(t, domain.SendHeartbeat{Key: key("..")})
	n.do(t, domain.DeregisterInstance{Key: key("..")})
}
