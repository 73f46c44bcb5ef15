package commands_test

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/policies"
)

// Of five instances that fall silent at once, a policy keeps two. They are critical until they are heard again.
func TestTheLastInstancesOfAServiceBecomeCriticalWhenTheirLeasesLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		table, err := policies.Open(ctx, store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		event, _, err := table.Decide(domain.SetPolicy{Name: "last", Spec: domain.PolicySpec{KeepLast: 2}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := domain.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Append(ctx, nil, eventstore.AppendRequest{
			Stream: eventstore.PolicyStream, Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: []byte(`{"schema":2}`)}},
		}); err != nil {
			t.Fatal(err)
		}
		if table, err = policies.Open(ctx, store, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		n := start(t, store, false)
		defer n.stop()
		n.service.Guard = &commands.Guard{Policies: table, Now: time.Now}
		for i := range 5 {
			n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: details(2 * time.Second)})
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		entries := n.projections.Catalog().View(key("").ServiceKey()).Entries
		if len(entries) != 2 {
			t.Fatalf("%d instances are left", len(entries))
		}
		for _, e := range entries {
			if e.Status() != domain.Critical || e.Says() != domain.Passing || e.Lapsed().IsZero() {
				t.Errorf("%s is %s, says %s", e.ID(), e.Status(), e.Says())
			}
			var last domain.Event
			for recorded, err := range store.ReadStream(ctx, eventstore.LifecycleStream(e.Key()), eventstore.ReadOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				if last, err = eventstore.Decode(&recorded); err != nil {
					t.Fatal(err)
				}
			}
			if changed, ok := last.(domain.HealthChanged); !ok || changed.KeptBy != "last" || !changed.Lapsed {
				t.Errorf("%s ends with %+v", e.ID(), last)
			}
		}
		back := entries[0].Key()
		n.do(t, domain.SendHeartbeat{Key: back})
		if e := n.projections.Catalog().Find(back); e.Status() != domain.Passing || !e.Lapsed().IsZero() {
			t.Errorf("after a heartbeat it is %s", e.Status())
		}
	})
}
