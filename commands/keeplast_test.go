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
		table := withPolicy(t, store, domain.PolicySpec{KeepLast: 2})
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

// withPolicy is the table of policies of a store that has one, called last.
func withPolicy(t *testing.T, store eventstore.Store, spec domain.PolicySpec) *policies.Table {
	t.Helper()
	table, err := policies.Open(ctx, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	event, _, err := table.Decide(domain.SetPolicy{Name: "last", Spec: spec})
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
	return table
}

// Of instances that became critical and are to be removed after a while, because they stayed silent, a policy keeps the last, too. What a
// probe finds is no silence.
func TestTheLastInstancesOfAServiceAreNotRemovedForTheirSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		n := start(t, store, false)
		defer n.stop()
		n.service.Guard = &commands.Guard{Policies: withPolicy(t, store, domain.PolicySpec{KeepLast: 2}), Now: time.Now}
		silent := func(service string, change func(*domain.Details)) domain.ServiceKey {
			k := domain.Key{Namespace: "default", Service: service}
			for i := range 5 {
				k.ID = fmt.Sprint(i)
				d := details(2 * time.Second)
				change(&d)
				n.do(t, domain.RegisterInstance{Key: k, Details: d})
			}
			return k.ServiceKey()
		}
		checked := func(kind domain.CheckKind) func(*domain.Details) {
			return func(d *domain.Details) {
				c := domain.Check{ID: "c", Kind: kind, InitialStatus: domain.Critical, RemoveAfter: domain.Duration(time.Minute)}
				if kind == domain.CheckTTL {
					c.TTL = domain.Duration(2 * time.Second)
				} else {
					c.Target, c.Interval = d.Address+":80", domain.Duration(time.Hour)
				}
				d.TTL, d.Checks = domain.NoTTL, []domain.Check{c}
			}
		}
		want := map[domain.ServiceKey]int{
			silent("leases", func(d *domain.Details) {
				d.OnLapse, d.RemoveAfter = domain.LapseCritical, domain.Duration(time.Minute)
			}): 2,
			silent("reports", checked(domain.CheckTTL)): 2,
			silent("probes", checked(domain.CheckTCP)):  0,
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for service, left := range want {
			if got := len(n.projections.Catalog().View(service).Entries); got != left {
				t.Errorf("%d instances of %s are left, want %d", got, service, left)
			}
		}
		n.do(t, domain.RegisterInstance{Key: domain.Key{Namespace: "default", Service: "leases", ID: "new"}, Details: details(time.Hour)})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := len(n.projections.Catalog().View(domain.ServiceKey{Namespace: "default", Service: "leases"}).Entries); got != 2 {
			t.Errorf("%d instances are left when another one has come", got)
		}
	})
}
