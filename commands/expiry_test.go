package commands

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// still is projections that stand still at a given table.
type still struct{ table *leases.Table }

func (s still) WaitFor(context.Context, eventstore.Position) error { return nil }
func (s still) Leases() *leases.Table                              { return s.table }
func (s still) SelfPreservation() (bool, *eventstore.RecordedEvent) {
	return false, nil
}

// A process that was stopped for longer than every ttl must not take out a single instance.
func TestAStallGivesEveryLeaseItsTTLAgain(t *testing.T) {
	store := eventstoretest.NewMemory()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	table := leases.NewTable(now, 0)
	key := domain.Key{Namespace: "default", Service: "checkout", ID: "a"}
	table.Start(key, 1, 10*time.Second, now)
	empty := catalog.New()
	x := &Expiry{
		Service:     New(store, func() Catalog { return empty }, still{table}, nil),
		Projections: still{table}, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler), last: now,
	}
	pass := func(after time.Duration) (overdue bool) {
		t.Helper()
		now = now.Add(after)
		if err := x.pass(context.Background()); err != nil {
			t.Fatal(err)
		}
		l, _ := table.Find(key)
		return l.Deadline.Before(now)
	}
	for range 50 {
		pass(100 * time.Millisecond)
	}
	if pass(time.Hour) {
		t.Fatal("the stall counts against the lease")
	}
	for range 99 {
		if pass(100 * time.Millisecond) {
			t.Fatal("it lapsed before its ttl was over again")
		}
	}
	if !pass(200 * time.Millisecond) {
		t.Fatal("it does not lapse any more")
	}
}
