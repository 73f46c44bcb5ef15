package commands_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// steppedStore is a store in memory whose clock, from which events get their times, is wrong by so many nanoseconds. The clocks of the nodes over it
// measure time on, as the monotonic clock does when somebody sets the wall clock.
func steppedStore(by *atomic.Int64) *eventstoretest.Memory {
	store := eventstoretest.NewMemory()
	store.Now = func() time.Time { return time.Now().Add(time.Duration(by.Load())) }
	return store
}

// An interruption during which somebody set the wall clock is told as long as it was, and to have ended before it was told.
func TestAnInterruptionIsToldInTheTimeOfTheLog(t *testing.T) {
	for _, step := range []time.Duration{-3 * time.Hour, -time.Minute, time.Minute, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var by atomic.Int64
			store := steppedStore(&by)
			n := start(t, store, false)
			defer n.stop()
			n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
			time.Sleep(5 * time.Second)
			n.listening.Refused(domain.DeafOverload)
			time.Sleep(2 * time.Second)
			by.Store(int64(step))
			for range 20 {
				n.listening.Refused(domain.DeafOverload)
				time.Sleep(100 * time.Millisecond)
			}
			n.do(t, domain.SendHeartbeat{Key: key("a")})
			time.Sleep(2 * time.Second)
			synctest.Wait()
			for e, err := range store.ReadStream(ctx, eventstore.RegistryStream, eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
				event, _ := eventstore.Decode(&e)
				told, ok := event.(domain.ListeningInterrupted)
				if length := told.To.Sub(told.From); err != nil || !ok || length < 1900*time.Millisecond || length > 3*time.Second {
					t.Fatalf("step by %s: the log tells %+v", step, event)
				}
				// After a step back, events have the time of the newest one until the clock has caught up.
				if ago := time.Now().Add(time.Duration(by.Load())).Sub(told.To); ago < 0 || ago > 3*time.Second || told.To.After(e.RecordedAt) {
					t.Errorf("step by %s: an interruption up to %s was recorded at %s", step, told.To, e.RecordedAt)
				}
			}
			if n.told(t) == nil {
				t.Error("nothing was told")
			}
		})
	}
}

// Events that were recorded while the clock was wrong say nothing about how long the registry was down: the log tells of no
// downtime that it makes up from them.
func TestNoDowntimeIsToldAfterAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var by atomic.Int64
		store := steppedStore(&by)
		n := start(t, store, false)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
		time.Sleep(time.Second)
		by.Store(int64(2 * time.Hour))
		n.do(t, domain.RegisterInstance{Key: key("b"), Details: details(time.Hour)})
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Hour)})
		for range 60 { // the registry runs on for half an hour
			time.Sleep(30 * time.Second)
			n.do(t, domain.SendHeartbeat{Key: key("b")})
		}
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: details(time.Minute)})
		n.stop()
		by.Store(0)
		time.Sleep(2 * time.Second)
		n = start(t, store, false)
		defer n.stop()
		n.do(t, domain.SendHeartbeat{Key: key("a")})
		time.Sleep(2 * time.Second)
		if told := n.told(t); len(told) > 0 {
			t.Errorf("the log tells %+v", told)
		}
	})
}

// What renewed a lease or a check last is looked for among the newest heartbeats after a restart. Where the lease's or the check's own may
// be older than all of these, the log does not say that an earlier sign of life was the last.
func TestARenewalThatIsNotAmongTheNewestHeartbeatsIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		n := start(t, store, false)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.Duration(10*time.Second), ttlCheck("worker", time.Minute))})
		n.do(t, pass("a", "worker", domain.Passing))
		time.Sleep(30 * time.Second / 4)
		n.do(t, pass("a", "worker", domain.Passing)) // only renews
		renewed := time.Now()
		n.stop()
		n = start(t, store, false)
		defer n.stop()
		for range 62 {
			time.Sleep(time.Second)
			n.do(t, domain.SendHeartbeat{Key: key("a")})
		}
		synctest.Wait()
		for e, err := range n.store.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
			event, _ := eventstore.Decode(&e)
			lapsed, ok := event.(domain.CheckChanged)
			if err != nil || !ok || lapsed.Cause != domain.CheckLapsed {
				t.Fatalf("it ended with %+v, %v", event, err)
			}
			if !lapsed.Last.IsZero() && !lapsed.Last.Equal(renewed.UTC()) || !lapsed.Began.IsZero() {
				t.Errorf("the check was reported at %s, and the log tells %+v", renewed, lapsed)
			}
		}
	})
}

// A check that gets another definition keeps its status and its lease begins anew: after a restart the log still says so.
func TestACheckThatWasDefinedAnewBeganThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		n := start(t, store, false)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, ttlCheck("worker", time.Minute))})
		n.do(t, pass("a", "worker", domain.Passing))
		time.Sleep(5 * time.Second)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, ttlCheck("worker", 50*time.Second))})
		defined := time.Now()
		n.stop()
		n = start(t, store, false)
		defer n.stop()
		time.Sleep(52 * time.Second)
		synctest.Wait()
		for e, err := range store.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
			event, _ := eventstore.Decode(&e)
			lapsed, ok := event.(domain.CheckChanged)
			if err != nil || !ok || lapsed.Cause != domain.CheckLapsed || !lapsed.Began.Equal(defined.UTC()) || !lapsed.Last.IsZero() {
				t.Errorf("the check was defined at %s, and the log tells %+v, %v", defined, event, err)
			}
		}
	})
}
