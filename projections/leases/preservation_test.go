package leases_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// world is instances over a lease table, and what the expiry does to them, in simulated time.
type world struct {
	t            *testing.T
	table        *leases.Table
	registered   registered
	preservation leases.Preservation
	standings    *leases.Standings
	began, now   time.Time
	grace        time.Time
	beating      []map[domain.Key]time.Duration // by the tick at which they send their next heartbeat, modulo its length
	expired      map[domain.Key]time.Duration   // after how long
	events       []told
}

type told struct {
	after time.Duration
	event domain.Event
}

func (e told) String() string { return fmt.Sprintf("%s %+v", e.after, e.event) }

func newWorld(t *testing.T) *world {
	return &world{
		t: t, table: leases.NewTable(began, 0), registered: newRegistered(), standings: &leases.Standings{}, began: began, now: began, grace: began,
		beating: make([]map[domain.Key]time.Duration, 4096), expired: map[domain.Key]time.Duration{},
	}
}

func (w *world) tick() int { return int(w.now.Sub(w.began) / leases.Tick) }

func (w *world) slot(after time.Duration) map[domain.Key]time.Duration {
	slot := &w.beating[(w.tick()+int(after/leases.Tick))%len(w.beating)]
	if *slot == nil {
		*slot = map[domain.Key]time.Duration{}
	}
	return *slot
}

func in(namespace string, i int) domain.Key {
	return domain.Key{Namespace: namespace, Service: "s", ID: fmt.Sprint(i)}
}

// register begins instances; those with an interval send heartbeats until silence.
func (w *world) register(namespace string, from, to int, ttl, interval time.Duration) {
	for i := from; i < to; i++ {
		w.table.Start(w.registered.instance(in(namespace, i), 1, ttl), w.now, w.now)
		if interval > 0 {
			w.slot(w.phase(i-from, to-from, interval))[in(namespace, i)] = interval
		}
	}
}

// phase spreads first heartbeats over an interval.
func (w *world) phase(i, of int, interval time.Duration) time.Duration {
	return leases.Tick + time.Duration(i)*(interval-leases.Tick)/time.Duration(of)
}

// silence stops instances' heartbeats.
func (w *world) silence(namespace string, from, to int) {
	for i := from; i < to; i++ {
		for _, slot := range w.beating {
			delete(slot, in(namespace, i))
		}
	}
}

// wake makes silent instances send heartbeats again.
func (w *world) wake(namespace string, from, to int, interval time.Duration) {
	for i := from; i < to; i++ {
		w.slot(w.phase(i-from, to-from, interval))[in(namespace, i)] = interval
	}
}

// run lets time pass. each is called at every tick.
func (w *world) run(d time.Duration, each func(after time.Duration)) {
	for until := w.now.Add(d); w.now.Before(until); {
		w.now = w.now.Add(leases.Tick)
		slot := w.slot(0)
		for key, interval := range slot {
			w.table.Heard(&eventstore.RecordedEvent{Stream: eventstore.HeartbeatStream(key), RecordedAt: w.now}, w.now)
			delete(slot, key)
			w.slot(interval)[key] = interval
		}
		if each != nil {
			each(w.now.Sub(w.began))
		}
		w.look()
	}
}

func (w *world) look() {
	w.table.Sweep(w.now)
	for _, r := range w.preservation.Look(w.table, w.standings, w.grace, w.now) {
		switch {
		case r.Start:
			w.tell(domain.SelfPreservationStarted{Namespace: r.Namespace, RenewalsSeen: r.Seen, RenewalsExpected: r.Expected})
		case r.End:
			w.tell(domain.SelfPreservationEnded{Namespace: r.Namespace, RenewalsSeen: r.Seen, RenewalsExpected: r.Expected})
		}
		if r.Hold {
			continue
		}
		for _, l := range w.table.Overdue(r.Namespace, 1<<30) {
			if w.now.Sub(l.Deadline) >= r.Wait {
				w.expired[l.Key] = w.now.Sub(w.began)
				w.table.End(l.Key, true)
			}
		}
	}
}

func (w *world) tell(e domain.Event) {
	w.events = append(w.events, told{w.now.Sub(w.began), e})
	w.standings = w.standings.After(e, "rollcall", w.now)
}

func (w *world) wantEvents(n int) {
	w.t.Helper()
	if len(w.events) != n {
		w.t.Errorf("the log tells %v", w.events)
	}
	last := map[string]time.Duration{}
	for _, e := range w.events {
		namespace := ""
		switch e := e.event.(type) {
		case domain.SelfPreservationStarted:
			namespace = e.Namespace
		case domain.SelfPreservationEnded:
			namespace = e.Namespace
		}
		if before, ok := last[namespace]; ok && e.after-before < leases.ChangeEvery {
			w.t.Errorf("%s of %q comes %s after the change before", e, namespace, e.after-before)
		}
		last[namespace] = e.after
	}
}

func (w *world) held(namespace string) bool { return w.standings.Of(namespace).On }

// Instances that are abandoned one by one are ordinary life, however many a minute.
func TestInstancesAbandonedOneByOneNeverStartSelfPreservation(t *testing.T) {
	for _, c := range []struct {
		renewing, perSecond int
		ttl, lasting        time.Duration
	}{
		{500, 2, 20 * time.Second, time.Hour}, {5000, 20, 20 * time.Second, 5 * time.Minute}, {5000, 20, 30 * time.Second, 5 * time.Minute},
		{100, 50, 10 * time.Second, 5 * time.Minute}, {20, 1, 5 * time.Second, time.Hour}, {0, 10, 3 * time.Second, 10 * time.Minute}, {12, 5, 4 * time.Second, 20 * time.Minute},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			w := newWorld(t)
			w.register("default", 0, c.renewing, 5*time.Minute, 100*time.Second)
			next := c.renewing
			w.run(c.lasting, func(after time.Duration) {
				due := c.renewing + int(int64(c.perSecond)*int64(after)/int64(time.Second))
				w.register("default", next, due, c.ttl, 0)
				next = due
			})
			w.wantEvents(0)
			late := 0
			for key, after := range w.expired {
				var i int
				_, _ = fmt.Sscan(key.ID, &i)
				if i < c.renewing {
					t.Fatalf("%s is gone though it renews", key)
				}
				if born := time.Duration(i-c.renewing+1) * time.Second / time.Duration(c.perSecond); after-born > c.ttl+500*time.Millisecond {
					late++
				}
			}
			if want := next - c.renewing - c.perSecond*int(c.ttl/time.Second+1); len(w.expired) < want || late > 0 {
				t.Errorf("%d are gone, want %d; %d of them later than their ttl", len(w.expired), want, late)
			}
		})
	}
}

// One of many dies every second, and none comes.
func TestAFleetThatDwindlesIsNotHeld(t *testing.T) {
	w := newWorld(t)
	w.register("default", 0, 400, 10*time.Second, 3*time.Second)
	dead := 0
	w.run(6*time.Minute, func(after time.Duration) {
		if after%time.Second == 0 {
			w.silence("default", dead, dead+1)
			dead++
		}
	})
	w.wantEvents(0)
	if len(w.expired) < 340 {
		t.Errorf("%d of %d dead are gone", len(w.expired), dead)
	}
}

func TestFewDeadGoAtOnce(t *testing.T) {
	for _, c := range []struct{ all, dead int }{{12, 2}, {9, 9}, {1, 1}, {100, 9}, {1000, 40}} {
		w := newWorld(t)
		w.register("default", 0, c.all, 3*time.Second, time.Second)
		w.run(10*time.Second, nil)
		w.silence("default", 0, c.dead)
		w.run(4*time.Second, nil)
		if w.wantEvents(0); len(w.expired) != c.dead {
			t.Errorf("of %d instances %d died; %d are gone", c.all, c.dead, len(w.expired))
		}
	}
}

// What is too much for a few and too little for a mass lapse waits a moment, and goes.
func TestAHandfulGoesWhenNoOthersFollow(t *testing.T) {
	w := newWorld(t)
	w.register("default", 0, 20, 4*time.Second, time.Second)
	w.run(10*time.Second, nil)
	w.silence("default", 0, 9)
	w.run(8*time.Second, nil)
	if w.wantEvents(0); len(w.expired) != 9 {
		t.Errorf("%d are gone", len(w.expired))
	}
}

func TestAMassLapseIsHeldAndEndsByItself(t *testing.T) {
	for _, c := range []struct {
		all, dead     int
		ttl, interval time.Duration
	}{
		{40, 40, 5 * time.Second, time.Second}, {20, 12, 3 * time.Second, time.Second}, {20, 12, 30 * time.Second, 10 * time.Second},
		{1000, 200, 30 * time.Second, 10 * time.Second}, {1000, 1000, 30 * time.Second, 20 * time.Second}, {300, 300, 5 * time.Minute, 100 * time.Second},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			// They come back.
			w := newWorld(t)
			w.register("default", 0, c.all, c.ttl, c.interval)
			w.run(2*c.ttl, nil)
			w.silence("default", 0, c.dead)
			w.run(c.ttl+5*time.Minute, nil)
			w.wantEvents(1)
			lost := len(w.expired)
			if !w.held("default") || lost > max(4, c.all/15) {
				t.Fatalf("held: %v; %d of %d are gone", w.held("default"), lost, c.dead)
			}
			w.wake("default", 0, c.dead, c.interval)
			w.run(2*c.ttl, nil)
			w.wantEvents(2)
			if w.held("default") || len(w.expired) != lost {
				t.Errorf("held: %v; %d are gone", w.held("default"), len(w.expired))
			}
			// They do not.
			w = newWorld(t)
			w.register("default", 0, c.all, c.ttl, c.interval)
			w.run(2*c.ttl, nil)
			w.silence("default", 0, c.dead)
			w.run(c.ttl+leases.PreserveFor+time.Minute, nil)
			w.wantEvents(2)
			if w.held("default") || len(w.expired) != c.dead {
				t.Errorf("held: %v; %d of %d are gone", w.held("default"), len(w.expired), c.dead)
			}
			w.run(5*time.Minute, nil)
			w.wantEvents(2)
		})
	}
}

// The autoscaler goes on while a mass lapse is held: what it abandons does not count as missing.
func TestWhatIsKeptDoesNotCountAsMissingForEver(t *testing.T) {
	w := newWorld(t)
	w.register("default", 0, 500, 20*time.Second, 6*time.Second)
	next := 500
	abandon := func(after time.Duration) {
		if after%time.Second == 0 {
			w.register("default", next, next+2, 20*time.Second, 0)
			next += 2
		}
	}
	w.run(5*time.Minute, abandon)
	w.silence("default", 0, 500)
	w.run(5*time.Minute, abandon)
	if w.wantEvents(1); !w.held("default") {
		t.Fatal("the mass lapse is not held")
	}
	w.wake("default", 0, 480, 6*time.Second)
	w.run(time.Minute, abandon)
	if w.wantEvents(2); w.held("default") {
		t.Error("it does not end although the mass renews")
	}
	if c := w.table.Count("default"); c.Overdue != 0 || c.Leases > 560 {
		t.Errorf("the dead stay: %+v", c)
	}
}

func TestANamespaceDoesNotHoldAnother(t *testing.T) {
	w := newWorld(t)
	w.register("scratch", 0, 200, 5*time.Second, 0)
	w.register("small", 0, 8, 5*time.Second, 0)
	w.register("production", 0, 100, 5*time.Second, time.Second)
	w.run(4*time.Second, nil)
	w.silence("production", 0, 3)
	w.run(10*time.Second, nil)
	if w.wantEvents(1); !w.held("scratch") || w.held("production") || w.held("small") {
		t.Errorf("held are %+v", w.standings)
	}
	if len(w.expired) != 11 {
		t.Errorf("%d are gone", len(w.expired))
	}
}

// A network that comes and goes makes one change a minute at most, and takes nothing out.
func TestFlappingIsToldOnceAMinute(t *testing.T) {
	w := newWorld(t)
	w.register("default", 0, 100, 3*time.Second, time.Second)
	for range 15 {
		w.run(9*time.Second, nil)
		w.silence("default", 0, 100)
		w.run(9*time.Second, nil)
		w.wake("default", 0, 100, time.Second)
	}
	if len(w.events) < 2 || len(w.events) > 5 || len(w.expired) > 20 {
		t.Errorf("%d changes, %d gone", len(w.events), len(w.expired))
	}
	w.wantEvents(len(w.events))
}

// A process that starts reads in the log when it was last told.
func TestFlappingIsToldOnceAMinuteAlsoAcrossRestarts(t *testing.T) {
	for _, everywhere := range []bool{false, true} { // an operator ends it for the namespace, or for all
		w := newWorld(t)
		w.register("default", 0, 100, 3*time.Second, time.Second)
		w.run(9*time.Second, nil)
		w.silence("default", 0, 100)
		w.run(5*time.Second, nil)
		if w.wantEvents(1); !w.held("default") {
			t.Fatal("a mass lapse is not held")
		}
		w.wake("default", 0, 100, time.Second)
		w.run(2*time.Second, nil)
		ended := domain.SelfPreservationEnded{Namespace: "default", Cause: domain.EndedByOperator}
		if everywhere {
			ended.Namespace = ""
		}
		w.standings = w.standings.After(ended, "ann", w.now)
		end := w.now
		w.preservation = leases.Preservation{}
		w.run(9*time.Second, nil)
		w.silence("default", 0, 100)
		w.run(2*time.Minute, nil)
		if len(w.expired) > 0 || len(w.events) != 2 || w.began.Add(w.events[1].after).Sub(end) < leases.ChangeEvery {
			t.Errorf("everywhere: %v: it ended after %s, the log tells %v, %d are gone", everywhere, end.Sub(w.began), w.events, len(w.expired))
		}
	}
}

func TestAnOperatorHoldsAndEnds(t *testing.T) {
	w := newWorld(t)
	w.register("default", 0, 30, 5*time.Second, time.Second)
	w.tell(domain.SelfPreservationStarted{Namespace: "default", Forced: true})
	w.silence("default", 0, 30)
	w.run(time.Hour, nil)
	if w.wantEvents(1); len(w.expired) > 0 {
		t.Fatalf("%d are gone although an operator holds expiry", len(w.expired))
	}
	w.tell(domain.SelfPreservationEnded{Namespace: "default", Cause: domain.EndedByOperator})
	w.run(time.Second, nil)
	if w.wantEvents(2); len(w.expired) != 30 {
		t.Errorf("%d are gone after the operator's end", len(w.expired))
	}
}

// An event of an earlier version means every namespace, and so does its end.
func TestAnEventWithoutANamespaceMeansAll(t *testing.T) {
	w := newWorld(t)
	w.register("a", 0, 3, 5*time.Second, 0)
	w.register("b", 0, 100, 5*time.Second, time.Second)
	w.tell(domain.SelfPreservationStarted{RenewalsSeen: 1, RenewalsExpected: 30})
	w.run(30*time.Second, nil)
	if !w.held("a") || !w.held("b") || !w.held("c") || len(w.expired) > 0 {
		t.Fatalf("held are %+v, %d are gone", w.standings, len(w.expired))
	}
	w.run(2*time.Minute, nil)
	if w.wantEvents(2); w.standings.Anywhere() || len(w.expired) != 3 {
		t.Errorf("held are %+v, %d are gone", w.standings, len(w.expired))
	}
}
