package commands_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

func ttlCheck(id string, ttl time.Duration) domain.Check {
	return domain.Check{ID: id, Kind: domain.CheckTTL, TTL: domain.Duration(ttl)}
}

func checked(ttl domain.Duration, checks ...domain.Check) domain.Details {
	d := details(0)
	d.TTL, d.Checks = ttl, checks
	return d
}

func pass(id, check string, status domain.Status) domain.ReportCheck {
	return domain.ReportCheck{Key: key(id), Check: check, Status: status}
}

// story is what the lifecycle of an instance tells after its registration: the types, with what checks and leases changed to.
func (n *node) story(t testing.TB, id string) string {
	t.Helper()
	var story []string
	for e, err := range n.store.ReadStream(ctx, eventstore.LifecycleStream(key(id)), eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case domain.CheckChanged:
			story = append(story, fmt.Sprintf("%s %s %s", e.Check, e.Cause, e.To))
		case domain.HealthChanged:
			story = append(story, fmt.Sprintf("%s to %s", e.Source, e.To))
		default:
			story = append(story, event.EventType())
		}
	}
	return strings.TrimPrefix(strings.Join(story, ", "), "InstanceRegistered")
}

func (n *node) tells(t testing.TB, id, want string) {
	t.Helper()
	if got := strings.TrimPrefix(n.story(t, id), ", "); got != want {
		t.Errorf("the log of %s tells: %s; want: %s", id, got, want)
	}
}

func TestATTLCheckThatIsNotReportedLapsesAndPassesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, eventstoretest.NewMemory(), true)
		defer n.stop()
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, ttlCheck("worker", 3*time.Second), ttlCheck("queue", time.Hour))})
		n.do(t, pass("a", "queue", domain.Passing))
		for range 5 {
			n.do(t, pass("a", "worker", domain.Passing))
			time.Sleep(2 * time.Second)
		}
		n.tells(t, "a", "queue reported passing, worker reported passing")
		if got := n.types(t, eventstore.HeartbeatStream(key("a"))); len(got) != 4 {
			t.Errorf("renewals: %v, want 4", got)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		n.tells(t, "a", "queue reported passing, worker reported passing, worker lapsed critical")
		if e := n.projections.Catalog().Find(key("a")); e.Status() != domain.Critical {
			t.Errorf("the instance is %s", e.Status())
		}
		time.Sleep(time.Minute)
		n.do(t, pass("a", "worker", domain.Warning))
		if e := n.projections.Catalog().Find(key("a")); e.Status() != domain.Warning {
			t.Errorf("the instance is %s", e.Status())
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "queue reported passing, worker reported passing, worker lapsed critical, worker reported warning, worker lapsed critical")
		for e, err := range n.store.ReadStream(ctx, eventstore.LifecycleStream(key("a")), eventstore.ReadOptions{From: 3, Limit: 1}) {
			event, _ := eventstore.Decode(&e)
			if lapsed, ok := event.(domain.CheckChanged); err != nil || !ok || e.RecordedAt.Sub(lapsed.Last) < 3*time.Second || e.RecordedAt.Sub(lapsed.Last) > 3200*time.Millisecond {
				t.Errorf("it lapsed with %+v at %s", event, e.RecordedAt)
			}
		}
		if n.projections.Leases().Len() != 1 {
			t.Errorf("%d leases run, want that of queue", n.projections.Leases().Len())
		}
	})
}

func TestALeaseLapsesToCriticalAndTheNextHeartbeatGivesBackTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, eventstoretest.NewMemory(), true)
		defer n.stop()
		d := checked(domain.Duration(3 * time.Second))
		d.OnLapse, d.RemoveAfter = domain.LapseCritical, domain.Duration(20*time.Second)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: d})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "lease to critical")
		if r := n.do(t, domain.SendHeartbeat{Key: key("a")}); r.Revision != 2 {
			t.Errorf("the heartbeat gave %+v", r)
		}
		if e := n.projections.Catalog().Find(key("a")); e.Status() != domain.Passing {
			t.Errorf("after a heartbeat it is %s", e.Status())
		}
		time.Sleep(22 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "lease to critical, lease to passing, lease to critical")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "lease to critical, lease to passing, lease to critical, LeaseExpired")
		if n.projections.Leases().Len() != 0 || n.projections.Removals().Len() != 0 {
			t.Error("something of it is left")
		}
	})
}

func TestACheckThatStaysCriticalRemovesItsInstanceAlsoAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		n := start(t, store, true)
		worker := ttlCheck("worker", 3*time.Second)
		worker.RemoveAfter = domain.Duration(10 * time.Minute)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, worker)})
		n.do(t, domain.RegisterInstance{Key: key("b"), Details: checked(domain.NoTTL, worker)})
		n.do(t, pass("a", "worker", domain.Critical))
		n.do(t, pass("b", "worker", domain.Critical))
		time.Sleep(8 * time.Minute)
		n.do(t, pass("b", "worker", domain.Passing))
		n.do(t, pass("b", "worker", domain.Critical))
		n.stop()
		time.Sleep(time.Hour) // does not count
		n = start(t, store, true)
		defer n.stop()
		time.Sleep(115 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "worker reported critical")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "worker reported critical, InstanceDeregistered")
		time.Sleep(7 * time.Minute)
		if n.projections.Catalog().Find(key("b")) == nil {
			t.Error("what was critical for eight minutes, of ten, is gone")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		n.tells(t, "b", "worker reported critical, worker reported passing, worker reported critical, InstanceDeregistered")
	})
}

func TestTheTimeBeforeARestartIsNotEnoughForARemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := eventstoretest.NewMemory()
		n := start(t, store, true)
		d := checked(domain.Duration(20 * time.Second))
		d.OnLapse, d.RemoveAfter = domain.LapseCritical, domain.Duration(time.Minute)
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: d})
		n.do(t, domain.RegisterInstance{Key: key("b"), Details: details(time.Hour)})
		time.Sleep(75 * time.Second)
		n.do(t, domain.SendHeartbeat{Key: key("b")})
		n.stop()
		n = start(t, store, true)
		defer n.stop()
		time.Sleep(19 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "lease to critical") // it gets its ttl to be heard
		time.Sleep(2 * time.Second)
		synctest.Wait()
		n.tells(t, "a", "lease to critical, LeaseExpired")
	})
}

func TestABatchReportsSeveralChecksOfOneInstance(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	var checks []domain.Check
	var reports []domain.ReportCheck
	for i := range domain.MaxChecks {
		checks = append(checks, ttlCheck(fmt.Sprint("c", i), time.Minute))
		reports = append(reports, pass("a", fmt.Sprint("c", i), domain.Passing))
	}
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, checks...)})
	reports = append(reports, pass("a", "c3", domain.Critical), pass("a", "none", domain.Passing), pass("nobody", "c", domain.Passing))
	for round := range 2 {
		for i, r := range n.service.Heartbeats(caller).ReportAll(ctx, reports, nil) {
			switch {
			case i < len(checks) && (r.Err != nil || r.Position == 0):
				t.Errorf("round %d: report %d gave %+v", round, i, r)
			case i == len(checks) && !errors.As(r.Err, new(domain.InvalidField)):
				t.Errorf("a check that is named twice gave %+v", r)
			case i == len(checks)+1 && r.Err != (domain.UnknownCheck{Key: key("a"), Check: "none"}):
				t.Errorf("an unknown check gave %+v", r)
			case i == len(checks)+2 && r.Err != (domain.UnknownInstance{Key: key("nobody")}):
				t.Errorf("an unknown instance gave %+v", r)
			}
		}
	}
	lifecycle, renewals := n.types(t, eventstore.LifecycleStream(key("a"))), n.types(t, eventstore.HeartbeatStream(key("a")))
	if len(lifecycle) != 1+len(checks) || len(renewals) != len(checks) {
		t.Errorf("%d events and %d renewals of %d checks", len(lifecycle), len(renewals), len(checks))
	}
}

func TestAProbeOfAnOldDefinitionIsRefused(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	web := domain.Check{ID: "web", Kind: domain.CheckHTTP, URL: "http://10.0.0.5/a"}
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: checked(domain.NoTTL, web)})
	probe := domain.ReportProbe{Key: key("a"), Epoch: 1, Check: "web", Status: domain.Passing, By: "n1"}
	n.do(t, probe)
	web.URL = "http://10.0.0.5/b"
	n.do(t, domain.AddCheck{Key: key("a"), Check: web})
	r := n.service.Do(ctx, caller, commands.Request{Command: probe})
	if r.Err != (domain.StaleCheck{Key: key("a"), Check: "web", Revision: 0, Live: 2}) {
		t.Errorf("gave %+v", r)
	}
	if e := n.projections.Catalog().Find(key("a")); e.Details().Checks[0].URL != web.URL || e.Status() != domain.Starting {
		t.Errorf("the catalog has %+v, %s", e.Details().Checks, e.Status())
	}
}

// A node that has not heard of it yet that an instance moved reports what it saw at the old place.
func TestAProbeOfAnotherPlaceIsRefused(t *testing.T) {
	n := start(t, eventstoretest.NewMemory(), true)
	defer n.stop()
	at := func(address string, port uint16) domain.Details {
		d := checked(domain.NoTTL, domain.Check{ID: "web", Kind: domain.CheckTCP, Port: "http"}, domain.Check{ID: "fixed", Kind: domain.CheckTCP, Target: address + ":81"})
		d.Address, d.Ports = address, map[string]uint16{"http": port, "admin": 9}
		return d
	}
	n.do(t, domain.RegisterInstance{Key: key("a"), Details: at("10.0.0.5", 80)})
	probe := domain.ReportProbe{Key: key("a"), Epoch: 1, Check: "web", Address: "10.0.0.5", Port: 80, Status: domain.Passing, By: "n1"}
	n.do(t, probe)
	fixed := domain.ReportProbe{Key: key("a"), Epoch: 1, Check: "fixed", Address: "10.0.0.5", Port: 81, Status: domain.Passing, By: "n1"}
	n.do(t, fixed) // the port of that check is no port of the instance
	for _, d := range []domain.Details{at("10.0.0.5", 8080), at("10.0.0.6", 80)} {
		n.do(t, domain.RegisterInstance{Key: key("a"), Details: d})
		probe.Status = domain.Critical
		if r := n.service.Do(ctx, caller, commands.Request{Command: probe}); r.Err != (domain.StaleCheck{Key: key("a"), Check: "web", Moved: true}) {
			t.Errorf("at %s, %v it gave %+v", d.Address, d.Ports, r)
		}
		if web := n.projections.Catalog().Find(key("a")).Checks()[0]; web.Status != domain.Passing {
			t.Errorf("at %s, %v it is %s", d.Address, d.Ports, web.Status)
		}
		probe.Address, probe.Port = d.Address, d.Ports["http"]
		n.do(t, probe)
		probe.Status = domain.Passing
		n.do(t, probe)
	}
}

func TestAMassLapseOfChecksIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, eventstoretest.NewMemory(), true)
		defer n.stop()
		var reports []domain.ReportCheck
		for i := range 40 {
			n.do(t, domain.RegisterInstance{Key: key(fmt.Sprint(i)), Details: checked(domain.NoTTL, ttlCheck("worker", 5*time.Second))})
			reports = append(reports, pass(fmt.Sprint(i), "worker", domain.Passing))
		}
		n.service.Heartbeats(caller).ReportAll(ctx, reports, nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !n.held() {
			t.Error("forty checks that lapse at once do not start self-preservation")
		}
		n.tells(t, "1", "worker reported passing")
	})
}
