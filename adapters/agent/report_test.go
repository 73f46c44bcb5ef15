package agent_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
)

const twice = "service: cart\nports: {http: 80}\nchecks: [{id: web, name: the page, kind: http, url: http://127.0.0.1/healthz, interval: 5s}, {kind: tcp, port: http, notes: the socket}]"

// reportsIn counts the requests that report checks.
func reportsIn(asked []string) (n int) {
	for _, a := range asked {
		if a == "POST /v1/check-reports" {
			n++
		}
	}
	return n
}

func TestEachCheckIsReportedOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		write(t, filepath.Join(folder, "cart.yaml"), twice)
		g := run(t, r, folder, true)
		time.Sleep(2 * time.Second)
		checks := g.instance("cart", "host-1").Details.Checks
		if len(checks) != 2 || checks[0].Kind != domain.CheckTTL || checks[0].Name != "the page" || checks[0].Notes != "the agent of host host-1 looks every 5s: GET http://127.0.0.1/healthz" ||
			checks[0].TTL != domain.Duration(time.Minute) || checks[1].ID != "check-2" || checks[1].Notes != "the socket" {
			t.Errorf("the checks are registered as %+v", checks)
		}
		g.sick.Store("check-2")
		time.Sleep(12 * time.Second)
		i := g.instance("cart", "host-1")
		if web, socket := i.Checks[0], i.Checks[1]; i.Status != domain.Critical || web.Status != domain.Passing || web.Output != "it answered 200" || socket.Status != domain.Critical || socket.Output != "it answered 500" {
			t.Errorf("the checks are %+v", i.Checks)
		}
		g.r.Asked()
		events := i.Events
		time.Sleep(time.Hour)
		if n := reportsIn(g.r.Asked()); n < 150 || n > 200 || g.instance("cart", "host-1").Events != events {
			t.Errorf("%d requests report two checks in an hour, with %d events", n, g.instance("cart", "host-1").Events-events)
		}
		g.end()
	})
}

// What the registry lost, it is told again: after a restore, an end of the lease, and a time in which it was away.
func TestARegistryThatLostChecksIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		write(t, filepath.Join(folder, "cart.yaml"), twice)
		before := r.Backup()
		g := run(t, r, folder, true)
		// statuses are the statuses of the checks and of the instance.
		statuses := func() string {
			i := g.instance("cart", "host-1")
			words := []string{string(i.Status)}
			for _, c := range i.Checks {
				words = append(words, string(c.Status))
			}
			return strings.Join(words, " ")
		}
		time.Sleep(2 * time.Second)
		early := r.Backup()
		g.sick.Store("web")
		time.Sleep(12 * time.Second)
		const want = "critical critical passing"
		if got := statuses(); got != want {
			t.Fatalf("before: %s", got)
		}
		r.Restore(early)
		time.Sleep(30 * time.Second)
		if got := statuses(); got != want {
			t.Errorf("after the restore: %s", got)
		}
		r.Restore(before)
		time.Sleep(30 * time.Second)
		if got := statuses(); got != want {
			t.Errorf("after the restore of an empty registry: %s", got)
		}
		if err := r.Do(domain.DeregisterInstance{Key: domain.Key{Namespace: "default", Service: "cart", ID: "host-1"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if got := statuses(); got != want || g.instance("cart", "host-1").Epoch != 2 {
			t.Errorf("after somebody deregistered it: %s", got)
		}
		r.SetAway(errors.New("connection refused"))
		g.sick.Store("check-2")
		time.Sleep(time.Minute)
		r.SetAway(nil)
		time.Sleep(30 * time.Second)
		if got := statuses(); got != "critical passing critical" {
			t.Errorf("after the registry was away: %s", got)
		}
		write(t, filepath.Join(folder, "cart.yaml"), "service: cart\nports: {http: 80}")
		time.Sleep(5 * time.Second)
		if got := statuses(); got != "passing" {
			t.Errorf("after the checks were removed: %s", got)
		}
		g.end()
	})
}

// An agent that was an older version reported one status for the instance. It does not stay.
func TestAStatusThatWasReportedBeforeDoesNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		key := domain.Key{Namespace: "default", Service: "cart", ID: "host-1"}
		if err := r.Do(domain.RegisterInstance{Key: key, Owner: "agent:host-1", Details: domain.Details{Address: "10.0.0.5", Status: domain.Critical, Weight: 100, TTL: domain.Duration(domain.DefaultTTL)}}); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "cart.yaml"), checked)
		g := run(t, r, folder, true)
		time.Sleep(2 * time.Second)
		if i := g.instance("cart", "host-1"); i.Status != domain.Passing || i.Epoch != 1 {
			t.Errorf("%+v", i)
		}
		g.end()
	})
}
