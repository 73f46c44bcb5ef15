package clienttest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// idleTime is for how long nothing happens while requests are counted.
const idleTime = 8 * time.Second

// seen is what a watcher knows now.
type seen struct {
	mu   sync.Mutex
	text string
}

func (s *seen) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

func (s *seen) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// watched is a watcher at work.
type watched struct {
	watcher
	*counting
	seen seen
}

// audience is every watcher, and what it should know.
type audience struct {
	t   *testing.T
	all []*watched

	warned string // the ports that a client routes to which takes warnings, too; "": those of healthy instances
}

// knows waits until every watcher knows what there is: the ids of web that may get requests, and the services.
func (a *audience) knows(step, ids, ports, services string) {
	a.t.Helper()
	a.knowsWithin(30*time.Second, step, ids, ports, services)
}

func (a *audience) knowsWithin(within time.Duration, step, ids, ports, services string) {
	a.t.Helper()
	began := time.Now()
	var waiting sync.WaitGroup
	for _, w := range a.all {
		waiting.Go(func() {
			want := map[kind]string{healthy: ids, listening: ports, routed: cmp.Or(a.warned, ports), names: services, nodes: "ip-127-0-0-1", keys: ""}[w.kind]
			eventually(a.t, within, step+": "+w.name, want, w.seen.get)
		})
	}
	waiting.Wait()
	a.t.Logf("%s: known by all after %s", step, time.Since(began).Round(time.Millisecond))
	if a.t.Failed() {
		a.t.FailNow()
	}
}

// knowsNone waits until no instance may get requests because of their node. Kratos never takes an empty list, and the checks of
// a service have none of its nodes.
func (a *audience) knowsNone(step string) {
	a.t.Helper()
	all := a.all
	defer func() { a.all = all }()
	a.all = slices.DeleteFunc(slices.Clone(all), func(w *watched) bool { return w.name == "kratos" || w.name == "consul/api watch checks" })
	a.knows(step, "", "", "old web")
}

// knowsAfterRestart gives clients time that wait long after an error: Prometheus' discovery does for 15 s, and the plans of Consul's
// own package wait for 5 s, 20 s, 45 s and so on.
func (a *audience) knowsAfterRestart(step, ids, ports, services string) {
	a.t.Helper()
	a.knowsWithin(2*time.Minute, step, ids, ports, services)
}

// beats passes a check again and again, until it is paused.
type beats struct {
	paused atomic.Bool
}

func passOn(t *testing.T, client *api.Client, check string) *beats {
	b := &beats{}
	loop(t, func(ctx context.Context) {
		if !b.paused.Load() {
			_ = client.Agent().UpdateTTL(check, "fine", api.HealthPassing) // the registry is away for a part of the story
		}
		pause(ctx, 300*time.Millisecond)
	})
	return b
}

// Every client follows the same story: instances come, lapse, revive, are in maintenance, go; the registry is killed and
// comes back, and later comes back with an older backup. In between nothing happens, and the clients are quiet.
func TestClientsFollowInstances(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := start(t)
	agent := r.client().Agent()
	register := func(s *api.AgentServiceRegistration) {
		t.Helper()
		must(t, agent.ServiceRegister(s))
	}
	// What is there before the clients come, and what vanishes with the story's end.
	register(&api.AgentServiceRegistration{Name: "old", Port: 1, Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing}})
	register(&api.AgentServiceRegistration{ID: "a", Name: "web", Port: 8001, Check: &api.AgentServiceCheck{TTL: "2s"}})

	everybody := &audience{t: t}
	for _, w := range watchers {
		watching := &watched{watcher: w, counting: r.counted(t)}
		everybody.all = append(everybody.all, watching)
		w.watch(t, watching.address, watching.seen.set)
	}
	everybody.knows("a has registered", "", "", "old web")

	a := passOn(t, r.client(), "service:a")
	everybody.knows("a passes", "a", "8001", "old web")

	var status atomic.Int64
	status.Store(http.StatusOK)
	probed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer probed.Close()
	_, text, _ := net.SplitHostPort(probed.Listener.Addr().String())
	port, _ := strconv.Atoi(text)
	b := &api.AgentServiceRegistration{ID: "b", Name: "web", Address: "127.0.0.1", Port: port, Check: &api.AgentServiceCheck{HTTP: probed.URL, Interval: "1s"}}
	register(b)
	both := line([]string{"8001", text})
	everybody.knows("b is probed", "a b", both, "old web")
	backup := r.backup()

	status.Store(http.StatusTooManyRequests)
	eventually(t, 30*time.Second, "the status of b", api.HealthWarning, func() string { return statusOf(r.client(), "b") })
	everybody.warned = both
	everybody.knows("b is overloaded", "a", "8001", "old web")
	everybody.warned = ""
	status.Store(http.StatusOK)
	everybody.knows("b has recovered", "a b", both, "old web")

	a.paused.Store(true)
	everybody.knows("a lapses", "b", text, "old web")
	a.paused.Store(false)
	everybody.knows("a revives", "a b", both, "old web")

	must(t, agent.EnableServiceMaintenance("a", "an upgrade"))
	everybody.knows("a is in maintenance", "b", text, "old web")
	must(t, agent.DisableServiceMaintenance("a"))
	everybody.knows("the maintenance ends", "a b", both, "old web")

	must(t, agent.EnableNodeMaintenance("an upgrade"))
	everybody.knowsNone("the node is in maintenance")
	must(t, agent.DisableNodeMaintenance())
	everybody.knows("the node's maintenance ends", "a b", both, "old web")

	must(t, agent.ServiceDeregister("b"))
	must(t, agent.ServiceDeregister("old"))
	everybody.knows("b and old have gone", "a", "8001", "web")

	time.Sleep(time.Second) // what the last change set off is over
	before := map[string]int64{}
	for _, w := range everybody.all {
		before[w.name] = w.requests.Load()
	}
	time.Sleep(idleTime)
	for _, w := range everybody.all {
		if sent := w.requests.Load() - before[w.name]; sent > w.idle {
			t.Errorf("%s sent %d requests while nothing happened, at most %d are to be expected", w.name, sent, w.idle)
		} else {
			t.Logf("%s sent %d requests while nothing happened", w.name, sent)
		}
	}

	r.kill()
	r.run()
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "c", Name: "web", Port: 8003, Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing}}))
	everybody.knowsAfterRestart("the registry was killed", "a c", "8001 8003", "web")

	r.restore(backup)
	everybody.knowsAfterRestart("an older backup was restored", "a b", both, "old web")
}

func statusOf(client *api.Client, id string) string {
	status, _, err := client.Agent().AgentHealthServiceByID(id)
	if err != nil {
		return fmt.Sprint(err)
	}
	return status
}
