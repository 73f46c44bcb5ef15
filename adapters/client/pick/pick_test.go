package pick_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// instance is a ready instance; change may change it.
func instance(n int, change ...func(*wire.Instance)) *wire.Instance {
	i := &wire.Instance{
		Namespace: "default", Service: "cart", ID: fmt.Sprintf("i-%04d", n), Traffic: domain.Serving, Epoch: 1,
		Details: domain.Details{Address: fmt.Sprintf("10.0.%d.%d", n/250, n%250+1), Ports: map[string]uint16{"http": 8080}, Weight: 100, Status: domain.Passing},
	}
	for _, c := range change {
		c(i)
	}
	return i
}

func instances(n int, change ...func(*wire.Instance)) (all []*wire.Instance) {
	for i := range n {
		all = append(all, instance(i, change...))
	}
	return all
}

func weight(w uint16) func(*wire.Instance) { return func(i *wire.Instance) { i.Weight = w } }
func zone(z string) func(*wire.Instance)   { return func(i *wire.Instance) { i.Zone = z } }
func traffic(t domain.Traffic) func(*wire.Instance) {
	return func(i *wire.Instance) { i.Traffic = t }
}
func status(s domain.Status) func(*wire.Instance) { return func(i *wire.Instance) { i.Status = s } }

func balancer(options pick.Options, all ...*wire.Instance) *pick.Balancer {
	b := pick.New(options)
	b.Update(all)
	return b
}

// shares picks many times and gives the share of each instance.
func shares(t *testing.T, b *pick.Balancer) map[string]float64 {
	t.Helper()
	const n = 40_000
	counts := map[string]float64{}
	for i := range n {
		e, err := b.PickKey(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		counts[e.Instance.ID] += 1.0 / n
	}
	return counts
}

var policies = []pick.Policy{pick.RoundRobin, pick.WeightedRandom, pick.LeastLoaded, pick.Rendezvous}

func TestOnlyReadyInstancesArePicked(t *testing.T) {
	for _, policy := range policies {
		b := balancer(pick.Options{Policy: policy})
		if _, err := b.Pick(); !errors.Is(err, pick.ErrNone) {
			t.Errorf("%s without instances: %v", policy, err)
		}
		b.Update([]*wire.Instance{
			instance(0, traffic(domain.Draining)), instance(1, traffic(domain.Maintenance)), instance(2, status(domain.Critical)), instance(3, status(domain.Starting)),
			instance(4), instance(5, status(domain.Warning)), instance(6, weight(0)), instance(7, func(i *wire.Instance) { i.Ports = nil }),
		})
		got := shares(t, b)
		if len(got) != 2 || math.Abs(got["i-0004"]-0.5) > 0.02 || math.Abs(got["i-0005"]-0.5) > 0.02 {
			t.Errorf("%s picks %v", policy, got)
		}
		b.Update([]*wire.Instance{instance(6, weight(0))})
		if e, err := b.Pick(); err != nil || e.Instance.ID != "i-0006" {
			t.Errorf("%s with nothing but weight 0: %v", policy, err)
		}
	}
}

func TestWeightsAreShares(t *testing.T) {
	for _, policy := range []pick.Policy{pick.WeightedRandom, pick.Rendezvous} {
		got := shares(t, balancer(pick.Options{Policy: policy}, instance(0, weight(10)), instance(1, weight(20)), instance(2, weight(70))))
		for id, want := range map[string]float64{"i-0000": 0.1, "i-0001": 0.2, "i-0002": 0.7} {
			if math.Abs(got[id]-want) > 0.015 {
				t.Errorf("%s: %s gets %.3f, want %.1f", policy, id, got[id], want)
			}
		}
	}
}

func TestRoundRobinTakesTurns(t *testing.T) {
	b := balancer(pick.Options{}, instances(7)...)
	seen := map[string]int{}
	for range 70 {
		e, _ := b.Pick()
		seen[e.Instance.ID]++
	}
	for id, n := range seen {
		if n != 10 {
			t.Errorf("%s was picked %d times of 70", id, n)
		}
	}
}

// Only the keys of an instance that left move, and the weights do not matter for that.
func TestRendezvousMovesOnlyTheKeysOfWhoLeft(t *testing.T) {
	for name, all := range map[string][]*wire.Instance{
		"equal weights": instances(20), "other weights": append(instances(10, weight(50)), instance(10), instance(11, weight(7))),
	} {
		b := balancer(pick.Options{Policy: pick.Rendezvous}, all...)
		before := map[string]string{}
		for i := range 5000 {
			e, _ := b.PickKey(fmt.Sprint(i))
			before[fmt.Sprint(i)] = e.Instance.ID
		}
		gone := all[3].ID
		b.Update(append(append([]*wire.Instance{}, all[:3]...), all[4:]...))
		for key, id := range before {
			e, _ := b.PickKey(key)
			if id != gone && e.Instance.ID != id {
				t.Fatalf("%s: the key %s moved from %s to %s when %s left", name, key, id, e.Instance.ID, gone)
			}
		}
	}
}

func TestLeastLoadedAvoidsTheSlowAndTheBusy(t *testing.T) {
	b := balancer(pick.Options{Policy: pick.LeastLoaded}, instances(4)...)
	for range 400 {
		e, _ := b.Pick()
		e.Begin()
		took := time.Millisecond
		if e.Instance.ID == "i-0002" {
			took = 100 * time.Millisecond
		}
		e.Done(took, false)
	}
	if got := shares(t, b); got["i-0002"] > 0.01 {
		t.Errorf("the slow one gets %.3f", got["i-0002"])
	}
	b = balancer(pick.Options{Policy: pick.LeastLoaded}, instances(4)...)
	for range 1000 { // of which none ends
		e, _ := b.Pick()
		e.Begin()
	}
	for range 200 {
		e, _ := b.Pick()
		if e.Outstanding() < 245 || e.Outstanding() > 256 {
			t.Fatalf("one has %d outstanding requests of 1000 to 4", e.Outstanding())
		}
	}
}

func TestTheOwnZoneIsPreferredAndSpillsOver(t *testing.T) {
	options := pick.Options{Zone: "a"}
	far := func() []*wire.Instance {
		return []*wire.Instance{instance(100, zone("b")), instance(101, zone("c")), instance(102)}
	}
	near := instances(10, zone("a"))
	inZone := func(all []*wire.Instance) float64 {
		sum := 0.0
		for id, share := range shares(t, balancer(options, all...)) {
			if id < "i-0100" {
				sum += share
			}
		}
		return sum
	}
	if got := inZone(append(far(), near...)); got < 0.999 {
		t.Errorf("with all ready, the zone gets %.3f", got)
	}
	for n := range 3 {
		near[n].Status = domain.Critical
	}
	if got := inZone(append(far(), near...)); math.Abs(got-0.98) > 0.01 { // 1.4 times 7 of 10
		t.Errorf("with 7 of 10 ready, the zone gets %.3f", got)
	}
	for n := range 8 {
		near[n].Status = domain.Critical
	}
	if got := inZone(append(far(), near...)); math.Abs(got-0.28) > 0.02 {
		t.Errorf("with 2 of 10 ready, the zone gets %.3f", got)
	}
	if got := inZone(far()); got != 0 {
		t.Errorf("with none, the zone gets %.3f", got)
	}
	if got := inZone(near[8:]); got < 0.999 {
		t.Errorf("with no other zone, the zone gets %.3f", got)
	}
}

func TestSubsetsAreEvenAndStable(t *testing.T) {
	all := instances(100)
	used := map[string]int{}
	moved := 0
	for process := range 200 {
		b := balancer(pick.Options{Subset: 10, SubsetKey: fmt.Sprint("process-", process)}, all...)
		before := map[string]bool{}
		for range 10 {
			e, _ := b.Pick()
			before[e.Instance.ID] = true
			used[e.Instance.ID]++
		}
		if len(before) != 10 || b.Len() != 10 {
			t.Fatalf("a subset has %d instances", len(before))
		}
		b.Update(all[1:])
		for range 10 {
			if e, _ := b.Pick(); !before[e.Instance.ID] {
				moved++
			}
		}
	}
	if moved > 60 { // about a tenth of 200 processes used the one that left
		t.Errorf("%d instances were exchanged when one left", moved)
	}
	if len(used) != 100 {
		t.Errorf("%d of 100 instances are used", len(used))
	}
}

func TestAnOutlierIsLeftOutForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := balancer(pick.Options{}, instances(4)...)
		fail := func(id string, times int) {
			for range times {
				for range 4 {
					e, _ := b.Pick()
					e.Begin()
					e.Done(time.Millisecond, e.Instance.ID == id)
				}
			}
		}
		fail("i-0001", 4)
		if b.Len() != 4 {
			t.Error("an instance is left out after four failures")
		}
		fail("i-0001", 1)
		if b.Len() != 3 {
			t.Error("an instance is not left out after five failures")
		}
		b.Update(instances(4)) // a change of the instances keeps it out
		if b.Len() != 3 {
			t.Error("a change brings the outlier back")
		}
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if b.Len() != 4 {
			t.Error("the outlier is not back after 10 s")
		}
		fail("i-0001", 5)
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if b.Len() != 3 {
			t.Error("the second ejection is no longer than the first")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for n := range 4 { // all fail: at most half are left out
			for range 5 {
				for range 4 {
					if e, _ := b.Pick(); e.Instance.ID == fmt.Sprintf("i-%04d", n) {
						e.Begin()
						e.Done(time.Millisecond, true)
					}
				}
			}
		}
		if b.Len() != 2 {
			t.Errorf("%d of 4 are picked when all fail", b.Len())
		}
		again := instances(4)
		for _, i := range again {
			i.Epoch = 2
		}
		if b.Update(again); b.Len() != 4 {
			t.Error("a successor inherits the ejection")
		}
		time.Sleep(time.Hour)
	})
}

func TestAnotherIsPickedForARetry(t *testing.T) {
	b := balancer(pick.Options{Policy: pick.Rendezvous}, instances(3)...)
	first, _ := b.PickKey("user-7")
	second, err := b.PickOther("user-7", []*pick.Endpoint{first})
	if err != nil || second.Instance.ID == first.Instance.ID {
		t.Fatalf("the second is %v, %v", second, err)
	}
	third, err := b.PickOther("user-7", []*pick.Endpoint{first, second})
	if err != nil || third.Instance.ID == first.Instance.ID || third.Instance.ID == second.Instance.ID {
		t.Fatalf("the third is %v, %v", third, err)
	}
	if _, err := b.PickOther("", []*pick.Endpoint{first, second, third}); !errors.Is(err, pick.ErrNone) {
		t.Errorf("after all: %v", err)
	}
}

func TestPortsAreChosenByName(t *testing.T) {
	ports := func(p map[string]uint16) *wire.Instance {
		return instance(0, func(i *wire.Instance) { i.Ports, i.Address = p, "2001:db8::1" })
	}
	for _, c := range []struct {
		ports map[string]uint16
		name  string
		want  string
		ok    bool
	}{
		{map[string]uint16{"http": 80, "admin": 81}, "", "[2001:db8::1]:80", true},
		{map[string]uint16{"http": 80, "admin": 81}, "admin", "[2001:db8::1]:81", true},
		{map[string]uint16{"grpc": 90}, "", "[2001:db8::1]:90", true},
		{map[string]uint16{"grpc": 90, "admin": 81}, "", "", false},
		{map[string]uint16{"grpc": 90}, "admin", "", false},
		{nil, "", "", false},
	} {
		if got, ok := pick.Address(ports(c.ports), c.name); ok != c.ok || ok && got != c.want {
			t.Errorf("port %q of %v: %q, %v", c.name, c.ports, got, ok)
		}
	}
}

func TestPickingAllocatesNothing(t *testing.T) {
	for _, policy := range policies {
		b := balancer(pick.Options{Policy: policy, Zone: "a"}, append(instances(10, zone("a")), instance(99, weight(7)))...)
		if n := testing.AllocsPerRun(100, func() { _, _ = b.PickKey("user-7") }); n != 0 {
			t.Errorf("%s allocates %v times", policy, n)
		}
	}
}

// A ring that was changed step by step is the ring that is made at once: processes agree whatever they saw.
func TestProcessesAgreeWhateverTheySawBefore(t *testing.T) {
	all := append(instances(30, weight(50)), instance(30, weight(7)), instance(31, weight(200)))
	stepwise := balancer(pick.Options{Policy: pick.Rendezvous}, all[10:20]...)
	stepwise.Update(nil)
	stepwise.Update(all[:25])
	stepwise.Update(append(append([]*wire.Instance{}, all[20:]...), instance(3, weight(99))))
	stepwise.Update(all[5:])
	atOnce := balancer(pick.Options{Policy: pick.Rendezvous}, all[5:]...)
	for i := range 5000 {
		x, _ := stepwise.PickKey(fmt.Sprint(i))
		y, _ := atOnce.PickKey(fmt.Sprint(i))
		if x.Instance != y.Instance {
			t.Fatalf("key %d: %s and %s", i, x.Instance.ID, y.Instance.ID)
		}
	}
}

func BenchmarkUpdateOfAThousand(b *testing.B) {
	for _, policy := range policies {
		b.Run(string(policy), func(b *testing.B) {
			all := instances(1000)
			balanced := balancer(pick.Options{Policy: policy}, all...)
			for b.Loop() {
				balanced.Update(all[1:])
				balanced.Update(all)
			}
		})
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{20, 1000} {
		for _, policy := range policies {
			for _, weights := range []string{"equal", "other"} {
				b.Run(fmt.Sprintf("%s/%d/%s", policy, n, weights), func(b *testing.B) {
					all := instances(n)
					if weights == "other" {
						for i := range all {
							all[i].Weight = uint16(1 + i%100)
						}
					}
					balanced := balancer(pick.Options{Policy: policy}, all...)
					b.ReportAllocs()
					for b.Loop() {
						_, _ = balanced.Pick()
					}
				})
			}
		}
	}
}
