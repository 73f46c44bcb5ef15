package simulation

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/leases"
)

// gather has so many processes come that live on, each under a key of its own in one namespace.
func (w *world) gather(n int, ttl time.Duration) {
	for i := range n {
		p := &process{
			world: w, key: domain.Key{Namespace: "prod", Service: "crowd", ID: fmt.Sprint(i)}, name: fmt.Sprint("c", i), ttl: ttl,
			named: w.chance(2), batched: w.chance(2), home: w.rng.IntN(len(w.nodes)), dies: w.anotherMinute(),
		}
		// They renew one after the other, not all in one tick.
		p.cut = time.Now().Add(time.Duration(i) * ttl / 3 / time.Duration(n))
		w.crowd = append(w.crowd, p)
		w.processes = append(w.processes, p)
	}
}

// cutOff has so many of the crowd fall silent at once for some time, as when a switch fails.
func (w *world) cutOff(n int, d time.Duration) {
	w.see("a crowd falls silent")
	w.tell("%d of the crowd fall silent for %s", n, d)
	for _, p := range w.crowd[:n] {
		p.cut = time.Now().Add(d)
	}
}

// pass lets time pass in which nothing happens but what each does at every second.
func (w *world) pass(d time.Duration, each func()) {
	for i := range int(d / leases.Tick) {
		if i%int(time.Second/leases.Tick) == 0 {
			each()
		}
		w.step()
	}
}

func nothing() {}

// told are the events that the log has of some types.
func (w *world) told(types ...string) (log []eventstore.RecordedEvent) {
	for e, err := range w.memory.ReadAll(w.t.Context(), eventstore.ReadAllOptions{Filter: eventstore.Filter{Types: types}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		log = append(log, e)
	}
	return log
}

// preserved looks whether self-preservation started once and ended once, for the cause given, and gives where.
func (w *world) preserved(cause domain.PreservationEnd) (started, ended eventstore.Position) {
	w.t.Helper()
	log := w.told(domain.TypeSelfPreservationStarted, domain.TypeSelfPreservationEnded)
	if len(log) == 2 {
		if e, err := eventstore.Decode(&log[1]); err == nil && e.(domain.SelfPreservationEnded).Cause == cause {
			return log[0].Position, log[1].Position
		}
	}
	for _, e := range log {
		w.t.Errorf("the log tells at %s: %s %s", e.RecordedAt.Sub(w.began), e.Type, e.Data)
	}
	return 0, 0
}

// beforeMass is how many of twenty may go before the others' lapses show that it is no handful.
const beforeMass = 3

// A mass of processes that fall silent at once is kept: until they are heard again, or for as long as it may last.
func TestACrowdThatFallsSilentAtOnceIsKept(t *testing.T) {
	for seed := range uint64(4) {
		for _, back := range []bool{true, false} {
			t.Run(fmt.Sprintf("seed %d, back: %v", seed, back), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					rng := rand.New(rand.NewPCG(seed, 18))
					w := makeWorld(t, seed, rng, plan{nodes: 1 + rng.IntN(2), untying: rng.IntN(2) == 0, preserve: true})
					w.gather(20, minTTL+time.Duration(rng.IntN(29_000))*time.Millisecond)
					w.pass(30*time.Second, nothing)
					n, silent, cause := 12+rng.IntN(8), 4*time.Minute, domain.EndedRenewed
					if !back {
						silent, cause = time.Hour, domain.EndedTooLong
					}
					w.cutOff(n, silent)
					w.pass(min(silent, leases.PreserveFor)+3*time.Minute, nothing)
					started, ended := w.preserved(cause)
					before, after := 0, 0
					for _, e := range w.told(domain.TypeLeaseExpired) {
						switch {
						case e.Position < started:
							before++
						case e.Position < ended:
							t.Errorf("taken out at %s, while expiry is held: %s", e.RecordedAt.Sub(w.began), e.Stream)
						default:
							after++
						}
					}
					if want := map[bool]int{true: 0, false: n - before}[back]; before > beforeMass || after != want {
						t.Errorf("of %d that are silent %d are gone before it started, and %d after it ended, want %d", n, before, after, want)
					}
					w.run(0)
					w.judge()
				})
			})
		}
	}
}

// Instances that come all the time and are never deregistered end one by one, as they fall silent.
func TestAnAutoscalersLifeNeverStartsSelfPreservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = 20 * time.Second
		w := makeWorld(t, 1, rand.New(rand.NewPCG(1, 18)), plan{nodes: 1, preserve: true})
		w.gather(100, ttl)
		come := 0
		w.pass(5*time.Minute, func() {
			for range 2 {
				p := &process{world: w, key: domain.Key{Namespace: "prod", Service: "crowd", ID: fmt.Sprint("new-", come)}, name: fmt.Sprint("a", come), ttl: ttl}
				come++
				p.register()
			}
		})
		if log := w.told(domain.TypeSelfPreservationStarted); len(log) > 0 {
			t.Errorf("it started: %+v", log)
		}
		if got := w.nodes[0].live.Catalog().Len(); got < 100 || got > 100+2*20+6 {
			t.Errorf("%d instances are left", got)
		}
		w.run(0)
		w.judge()
	})
}
