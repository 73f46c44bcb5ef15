package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// probers are three nodes that look at the same instances.
type probers struct {
	t       *testing.T
	nodes   map[string]*process // by their names
	targets map[string]*target  // by the ids of their instances
	looks   map[string]*atomic.Int32
}

func newProbers(t *testing.T, nodes ...*process) *probers {
	t.Helper()
	f := &probers{t: t, nodes: map[string]*process{}, targets: map[string]*target{}, looks: map[string]*atomic.Int32{}}
	for _, p := range nodes {
		status, b, err := p.send("GET", "/v1/status", "")
		var s wire.Status
		if err != nil || status != 200 || json.Unmarshal(b, &s) != nil || s.Probes == nil {
			t.Fatalf("%d %s %v", status, b, err)
		}
		f.nodes[s.Probes.Node] = p
	}
	if len(f.nodes) != len(nodes) {
		t.Fatalf("the nodes have the names %v", slices.Collect(maps.Keys(f.nodes)))
	}
	return f
}

// register registers an instance with a check.
func (f *probers) register(id string) {
	f.t.Helper()
	x := newTarget(f.t)
	f.targets[id], f.looks[id] = x, new(atomic.Int32)
	f.answers(200, id)
	body := fmt.Sprintf(`{"address":"127.0.0.1","ttl":"none","checks":[{"id":"it","interval":"2s","timeout":"2s","kind":"http","url":%q}]}`, x.url+"/health")
	f.until(id+" is registered", func() string {
		status, b, err := f.other("").send("PUT", "/v1/services/probed/instances/"+id, body)
		if err != nil || status >= 300 {
			return fmt.Sprint(status, string(b), err)
		}
		return ""
	})
}

// answers lets the targets of instances answer with a status from now on.
func (f *probers) answers(status int, ids ...string) {
	for _, id := range ids {
		f.targets[id].set(func(w http.ResponseWriter, _ *http.Request) {
			f.looks[id].Add(1)
			w.WriteHeader(status)
		})
	}
}

// other is a node of another name.
func (f *probers) other(name string) *process {
	names := slices.Sorted(maps.Keys(f.nodes))
	return f.nodes[names[slices.IndexFunc(names, func(n string) bool { return n != name })]]
}

// until waits until nothing is missing.
func (f *probers) until(what string, missing func() string) {
	f.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: %s", what, m)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// become waits until the checks of instances have a status at a node, and were changed to it by another node than one.
func (f *probers) become(at *process, status, notBy string, ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		f.until(id+" becomes "+status, func() string {
			if c := f.check(at, id); string(c.Status) != status || c.By == notBy {
				return fmt.Sprintf("it is %s by %s: %s\n%s", c.Status, c.By, c.Output, at.logs)
			}
			return ""
		})
	}
}

// check is the check of an instance as a node shows it. While the node has no answer, nothing is known of the check.
func (f *probers) check(at *process, id string) wire.Check {
	_, b, err := at.send("GET", "/v1/services/probed/instances/"+id, "")
	var i wire.Instance
	if err != nil || json.Unmarshal(b, &i) != nil || len(i.Checks) != 1 {
		return wire.Check{}
	}
	return i.Checks[0]
}

// of are the instances that a node looks at, as another says.
func (f *probers) of(name string) (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(f.targets)) {
		if f.check(f.other(name), id).LookedBy == name {
			ids = append(ids, id)
		}
	}
	return ids
}

// history are the events of an instance of a type, oldest first; "": of all types.
func (f *probers) history(at *process, key, namespace, eventType string) (events []wire.HistoryEntry) {
	f.t.Helper()
	out, errs, code := run(f.t, []string{"ROLLCALL_URL=" + at.url}, "history", key, "--ns", namespace, "-o", "json")
	var page wire.HistoryPage
	if code != 0 || json.NewDecoder(strings.NewReader(out)).Decode(&page) != nil {
		f.t.Fatalf("%d %s %s", code, out, errs)
	}
	for _, e := range slices.Backward(page.Entries) {
		if eventType == "" || e.Type == eventType {
			events = append(events, e)
		}
	}
	return events
}

// Three nodes: the one that looks at an instance is paused, with a look under way, and later killed. Others go on, the look
// that ends late changes nothing, nothing is told twice, and the history and why tell what happened.
func (f *probers) outlive() {
	t := f.t
	t.Helper()
	for n := range 6 {
		f.register(fmt.Sprint("i", n))
	}
	all := slices.Sorted(maps.Keys(f.targets))
	f.become(f.other(""), "passing", "", all...)
	paused := f.check(f.other(""), "i0").LookedBy
	witness, its := f.other(paused), f.of(paused)

	// A look is under way, and its answer comes when the node is paused.
	arrived, released := make(chan struct{}), make(chan struct{})
	var once sync.Once
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release) // before the target is closed, which waits for its requests
	f.targets["i0"].set(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(arrived) })
		<-released
		w.WriteHeader(500)
	})
	select {
	case <-arrived:
	case <-time.After(90 * time.Second):
		t.Fatal("nobody looks at i0")
	}
	signal := func(sig syscall.Signal) {
		if err := f.nodes[paused].Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	f.until("the node stands still", func() string { // until then it may still see what its targets answer
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", f.nodes[paused].Process.Pid))
		for _, file := range threads {
			stat, err := os.ReadFile(file)
			if _, state, _ := strings.Cut(string(stat), ") "); err != nil || !strings.HasPrefix(state, "T") {
				return fmt.Sprint(string(stat), err)
			}
		}
		return ""
	})
	began := time.Now()
	f.answers(503, its...)
	f.become(witness, "critical", paused, its...)
	t.Logf("others saw the failures %s after the pause began", time.Since(began).Round(time.Millisecond))
	f.answers(200, its...)
	f.become(witness, "passing", paused, its...)
	release()
	signal(syscall.SIGCONT)
	began = time.Now()
	f.until("the paused node looks again", func() string {
		if by := f.check(f.nodes[paused], "i0"); by.LookedBy != paused || by.NextLook == nil {
			return fmt.Sprintf("%+v", by)
		}
		return ""
	})
	before := f.looks["i0"].Load()
	f.until("somebody looks at i0", func() string {
		if f.looks["i0"].Load() == before {
			return "nobody looks"
		}
		return ""
	})
	t.Logf("the paused node looks again %s after it went on", time.Since(began).Round(time.Millisecond))

	// The node that looks at i0 now is killed.
	killed := f.check(witness, "i0").LookedBy
	if killed == "" {
		t.Fatal("nobody looks at i0")
	}
	witness, last := f.other(killed), f.of(killed)
	_ = f.nodes[killed].end(syscall.SIGKILL)
	began = time.Now()
	f.answers(500, last...)
	f.become(witness, "critical", killed, last...)
	t.Logf("others saw the failures %s after the kill", time.Since(began).Round(time.Millisecond))

	for _, id := range all {
		want := []string{"check it went passing: GET /health answered 200 after "}
		if slices.Contains(its, id) {
			want = append(want, "check it went critical: GET /health answered 503 after ", "check it went passing: GET /health answered 200 after ")
		}
		if slices.Contains(last, id) {
			want = append(want, "check it went critical: GET /health answered 500 after ")
		}
		told := f.history(witness, "probed/"+id, "default", "CheckChanged")
		if len(told) != len(want) {
			t.Errorf("%s: the history has %d changes of the check, want %d: %+v", id, len(told), len(want), told)
			continue
		}
		for n, e := range told {
			if !strings.Contains(e.Summary, want[n]) || !strings.Contains(e.Summary, ", seen by node ") {
				t.Errorf("%s: the history tells %q, want %q", id, e.Summary, want[n])
			}
			if n == 1 && slices.Contains(its, id) && strings.Contains(e.Summary, "seen by node "+paused) || n == len(want)-1 && slices.Contains(last, id) && strings.Contains(e.Summary, "seen by node "+killed) {
				t.Errorf("%s: the history tells %q of a node that did not run", id, e.Summary)
			}
		}
	}
	by := f.check(witness, "i0").By
	if out, _, _ := run(t, []string{"ROLLCALL_URL=" + witness.url}, "why", "probed/i0"); !strings.Contains(out, "GET /health answered 500") || !strings.Contains(out, "seen by node "+by) {
		t.Errorf("why says %s", out)
	}
	// The nodes' own story: the paused node's lease lapsed, and it came back; the killed one's lapsed last.
	if told := f.history(witness, "prober/"+paused, "rollcall-system", "LeaseExpired"); len(told) == 0 {
		t.Errorf("the history of %s tells %+v", paused, f.history(witness, "prober/"+paused, "rollcall-system", ""))
	}
	if told := f.history(witness, "prober/"+killed, "rollcall-system", ""); len(told) == 0 || told[len(told)-1].Type != "LeaseExpired" {
		t.Errorf("the history of %s tells %+v", killed, told)
	}
	// The nodes themselves are in the registry's own namespace only, and counted apart.
	if _, b, _ := witness.send("GET", "/v1/status", ""); !strings.Contains(string(b), `"services":1,"instances":6,"nodes":2,`) {
		t.Errorf("the status has %s", b)
	}
	if out, _, _ := run(t, []string{"ROLLCALL_URL=" + witness.url}, "status"); !strings.Contains(out, "6 instances of 1 service,") || !strings.Contains(out, "2 nodes of the registry") {
		t.Errorf("the status says\n%s", out)
	}
	_, b, _ := witness.send("GET", "/metrics", "")
	for line, want := range map[string]bool{
		"rollcall_catalog_instances 6\n": true, "rollcall_nodes 2\n": true, "rollcall_leases 0\n": true, `service="prober"`: false,
	} {
		if strings.Contains(string(b), line) != want {
			t.Errorf("whether the metrics have %q is not %v", line, want)
		}
	}
	if _, b, _ := witness.send("GET", "/v1/catalog", ""); strings.Contains(string(b), "rollcall-system") {
		t.Errorf("the whole catalog has %s", b)
	}
}

func TestOtherNodesOfAClusterGoOnProbing(t *testing.T) {
	t.Parallel()
	c := newTrio(t, newAuthority(t, "cluster"))
	c.start("n1", "n2", "n3")
	c.leader("n1")
	newProbers(t, c.nodes["n1"].process, c.nodes["n2"].process, c.nodes["n3"].process).outlive()
}

func TestOtherNodesOverOneStoreGoOnProbing(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	newProbers(t, c.nodes[:]...).outlive()
}
