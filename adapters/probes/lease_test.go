package probes_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/probes"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func TestTheChecksOfADeadNodeAreLookedAtWithinTwoIntervals(t *testing.T) {
	const checks = 30
	for _, interval := range []time.Duration{time.Second, 1300 * time.Millisecond, 2 * time.Second, 3900 * time.Millisecond, 4 * time.Second, 10 * time.Second} {
		for _, after := range []time.Duration{0, 370 * time.Millisecond} { // the death falls into different parts of the lease
			t.Run(fmt.Sprint(interval, " after ", after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, w := eventstoretest.NewMemory(), &network{looks: map[string]int{}, seen: map[string][]time.Time{}, by: map[string]string{}}
					nodes := []*part{join(t, "n1", store, w), join(t, "n2", store, w), join(t, "n3", store, w)}
					time.Sleep(time.Second)
					for n := range checks {
						registerEvery(t, nodes[n%3], n, interval)
					}
					time.Sleep(3*interval + 2*time.Second + after)
					died := time.Now()
					nodes[0].stop()
					w.mu.Lock()
					var its []string
					for path, by := range w.by {
						if by == "n1" {
							its = append(its, path)
						}
					}
					w.mu.Unlock()
					time.Sleep(2 * interval)
					w.mu.Lock()
					defer w.mu.Unlock()
					if len(its) == 0 || len(w.by) != checks {
						t.Fatalf("the dead node has %d of %d checks", len(its), len(w.by))
					}
					for _, path := range its {
						next := slices.IndexFunc(w.seen[path], func(at time.Time) bool { return at.After(died) })
						if next < 0 || w.by[path] == "n1" {
							t.Errorf("within two intervals nobody else looked at %s", path)
						}
					}
				})
			})
		}
	}
}

// leasesOf are the ttls that the registrations of a node had, one after the other.
func leasesOf(t *testing.T, store eventstore.Store, node string) (ttls []time.Duration) {
	t.Helper()
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		key, ok := e.Stream.InstanceKey()
		if !ok || key.Namespace != domain.RegistryNamespace || key.ID != node || e.Type == domain.TypeHeartbeatReceived {
			continue
		}
		event, err := domain.DecodeEvent(e.Type, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		switch x := event.(type) {
		case domain.InstanceRegistered:
			ttls = append(ttls, time.Duration(x.TTL))
		case domain.InstanceUpdated:
			ttls = append(ttls, time.Duration(x.TTL))
		default:
			t.Errorf("%s: %s", node, e.Type)
		}
	}
	return ttls
}

func TestTheLeaseOfANodeFollowsTheShortestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := eventstoretest.NewMemory(), &network{looks: map[string]int{}}
		n1 := join(t, "n1", store, w)
		join(t, "n2", store, w)
		ends := func(key domain.Key) {
			if err := n1.service.Do(t.Context(), commands.Caller{}, commands.Request{Command: domain.DeregisterInstance{Key: key}}).Err; err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		registerEvery(t, n1, 0, 10*time.Second)
		time.Sleep(5 * time.Second)
		two := registerEvery(t, n1, 1, 2*time.Second)
		time.Sleep(5 * time.Second)
		for n := range 5 { // a check that comes and goes changes the lease once
			one := registerEvery(t, n1, 2+n, time.Second)
			time.Sleep(5 * time.Second)
			ends(one)
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Minute)
		ends(two)
		time.Sleep(2 * time.Minute)
		want := []time.Duration{3 * time.Second, 1500 * time.Millisecond, time.Second, 1500 * time.Millisecond, 3 * time.Second}
		for _, node := range []string{"n1", "n2"} {
			if got := leasesOf(t, store, node); !slices.Equal(got, want) {
				t.Errorf("the leases of %s are %v, want %v", node, got, want)
			}
		}
	})
}

// A node that does not know whether its lease got shorter counts with the shorter one.
func TestANodeThatGotNoAnswerCountsWithTheShorterLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := eventstoretest.NewMemory(), &network{looks: map[string]int{}}
		n1 := join(t, "n1", store, w)
		time.Sleep(2 * time.Second)
		n1.deaf.Store(true)
		key := registerEvery(t, n1, 0, time.Second)
		time.Sleep(5 * time.Second)
		if ttls := leasesOf(t, store, "n1"); !slices.Equal(ttls, []time.Duration{probes.LeaseTTL, time.Second}) {
			t.Fatalf("the leases are %v", ttls)
		}
		if !n1.node.Mine(key) {
			t.Error("the node renews its lease, and does not own its instance")
		}
		n1.stuck.Store(true)
		time.Sleep(1100 * time.Millisecond)
		if n1.node.Mine(key) {
			t.Error("the lease has lapsed, and the node still owns its instance")
		}
		n1.stuck.Store(false)
		n1.deaf.Store(false)
		time.Sleep(10 * time.Second)
		if !n1.node.Mine(key) {
			t.Error("the node is back, and does not own its instance")
		}
	})
}
