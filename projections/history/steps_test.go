package history_test

import (
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// stepsOfBefore is the value with the steps of stepEvents as folders of versions 4 and 5 have it.
const stepsOfBefore = "0c73686f702f636172742f6931290102a08fb9e0cdffa50692010001000465752d3105312e342e3005e080bad235882080d8b3dd84a3030d73686f702f636172742f6931302c0101d0ffb8e0cdffa5069201000403616e6e0465752d3105312e342e3003b0809de91ac4388080c58bc6d1010c73686f702f636172742f69324b00008080abbcb9f7ec98319201000103616e6e0465752d3105312e342e300380a8d6b90783000003616e6e0465752d3105312e352e30028e80c58bc6d1011501f2d7eed1bed10187109202"

// stepEvents are the events of a segment. Some follow others within a microsecond.
func stepEvents(t *testing.T) (all []eventstore.RecordedEvent) {
	t.Helper()
	details := domain.Details{Address: "10.0.0.1", Zone: "eu-1", Version: "1.4.0", Weight: 100, Status: domain.Passing, TTL: domain.Duration(time.Minute)}
	newer := details
	newer.Version = "1.5.0"
	tell := func(id string, event domain.Event, after time.Duration) {
		data, err := domain.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, eventstore.RecordedEvent{
			Position: eventstore.Position(len(all) + 1), Stream: eventstore.LifecycleStream(domain.Key{Namespace: "shop", Service: "cart", ID: id}), RecordedAt: began.Add(after),
			EventData: eventstore.EventData{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)},
		})
	}
	tell("i2", domain.InstanceRegistered{Epoch: 1, Owner: "ann", Details: details}, 0)
	tell("i10", domain.InstanceRegistered{Epoch: 4, Owner: "ann", Details: details}, time.Millisecond)
	tell("i1", domain.InstanceRegistered{Epoch: 1, Details: details}, 2*time.Millisecond)
	tell("i2", domain.InstanceUpdated{Epoch: 1, Owner: "ann", Details: newer, Changed: []string{"version"}}, time.Second)
	tell("i10", domain.HealthChanged{Epoch: 4, From: domain.Passing, To: domain.Critical, Source: domain.FromLease, Lapsed: true, LastHeard: domain.LastHeard{LastHeartbeat: began}}, time.Hour)
	tell("i2", domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining}, time.Hour+time.Second+7)
	tell("i2", domain.InstanceDeregistered{Epoch: 1, Reason: domain.ExitReason(137, 9)}, 2*time.Hour)
	tell("i1", domain.LeaseExpired{Epoch: 1, LastHeard: domain.LastHeard{LastHeartbeat: began.Add(time.Second)}, TTL: domain.Duration(time.Minute)}, 2*time.Hour)
	return all
}

// The steps of a folder that was written before they shared names and details are those of a folder of today.
func TestStepsOfFoldersOfBeforeAreRead(t *testing.T) {
	dir, events := t.TempDir(), stepEvents(t)
	open := func() *history.History {
		h, err := history.OpenSegmented(dir, storeID, quiet, int64(len(events)))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := open()
	defer func() { h.Close() }()
	if err := h.Apply(events, events[len(events)-1].Position); err != nil {
		t.Fatal(err)
	}
	restart := func() {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = open()
	}
	restart() // so that the steps are read from the folder
	want := map[string][]traces.Step{}
	for i := range events {
		s := traces.Of(&events[i])
		s.Leaf = int64(i)
		of, _ := events[i].Stream.InstanceKey()
		want[of.ID] = append(want[of.ID], s)
	}
	same := func(form string) {
		t.Helper()
		for _, id := range []string{"", "i1", "i2", "i10"} {
			got, told := map[string][]traces.Step{}, want
			if id != "" {
				told = map[string][]traces.Step{id: want[id]}
			}
			q := history.Tracing{Namespace: "shop", Service: "cart", ID: id, UpTo: h.Position()}
			err := history.Trace(ctx, h, q, func(k domain.Key) string { return k.ID }, func(of string, s *traces.Step) bool {
				got[of] = append(got[of], *s)
				return true
			})
			if err != nil || !reflect.DeepEqual(got, told) {
				t.Errorf("the %s steps of %q are %+v, %v; want %+v", form, id, got, err, told)
			}
		}
	}
	same("new")
	before, err := hex.DecodeString(stepsOfBefore)
	if err != nil {
		t.Fatal(err)
	}
	now, err := h.Steps(0)
	if err != nil || len(now) != 1 || len(now["shop/cart/i2"]) >= len(before) {
		t.Fatalf("the values of the segment are %x, %v; want one that is shorter than %x", now, err, before)
	}
	if err := h.SetSteps(0, "shop/cart/i2", before); err != nil {
		t.Fatal(err)
	}
	if err := h.SetFormat(5); err != nil {
		t.Fatal(err)
	}
	leaves := h.Leaves()
	restart()
	if h.Leaves() != leaves {
		t.Fatalf("a folder of version 5 has %d leaves, not %d", h.Leaves(), leaves)
	}
	same("old")
}
