package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// link is a network between a node and the event store, which can be cut.
type link struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	cut      bool
	conns    map[net.Conn]struct{}
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, target: target, conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { _ = listener.Close(); l.set(true) })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(c)
		}
	}()
	return l
}

func (l *link) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer to.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.conns[from], l.conns[to] = struct{}{}, struct{}{}
	l.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	l.mu.Lock()
	delete(l.conns, from)
	delete(l.conns, to)
	l.mu.Unlock()
}

// set cuts the link, or mends it.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *link) connection() string { return "esdb://" + l.listener.Addr().String() + "?tls=false" }

// cluster is three nodes over one event store.
type cluster struct {
	t     *testing.T
	store *esdbtest.Server // of a database of one node
	links [3]*link         // to it, one for each node; nil: there is none to cut

	real string // the connection string of a database that is not ours; "": it is
	ns   string // the namespace of what the test registers: a real database may hold others'

	stores *esdbtest.Cluster // of a database of three nodes, which every node reaches by itself

	mu    sync.Mutex
	nodes [3]*process
	data  [3]string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, ns: domain.DefaultNamespace}
	var err error
	if c.store, err = esdbtest.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.store.Stop)
	for i := range c.nodes {
		c.links[i] = newLink(t, c.store.Address())
	}
	c.startNodes()
	return c
}

// startAnywhere starts nodes over the database that ROLLCALL_TEST_ESDB names, which may hold other events and is
// left with those of the test, or over the imitation.
func startAnywhere(t *testing.T) *cluster {
	t.Helper()
	connection := os.Getenv("ROLLCALL_TEST_ESDB")
	if connection == "" {
		return startCluster(t)
	}
	c := &cluster{t: t, real: connection, ns: fmt.Sprintf("t%x", time.Now().UnixNano())}
	c.startNodes()
	return c
}

// path is that of an instance.
func (c *cluster) path(service, id string) string {
	return fmt.Sprintf("/v1/services/%s/instances/%s?ns=%s", service, id, c.ns)
}

// startOverThree starts three nodes over a database of three, which has a new leader that much sooner than it
// would in reality.
func startOverThree(t *testing.T, pace float64) *cluster {
	t.Helper()
	c := &cluster{t: t, ns: domain.DefaultNamespace}
	var err error
	if c.stores, err = esdbtest.StartCluster(esdbtest.TCP{}, 3, esdbtest.Measured.Scaled(pace)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stores.Stop)
	c.startNodes()
	return c
}

func (c *cluster) startNodes() {
	for i := range c.nodes {
		c.data[i] = c.t.TempDir()
		c.nodes[i] = c.start(i, "127.0.0.1:0")
	}
}

// connection is how a node reaches the database; -1: how the test does.
func (c *cluster) connection(i int) string {
	switch {
	case c.real != "":
		return c.real
	case c.stores != nil:
		return c.stores.ConnectionString()
	case i < 0:
		return c.store.ConnectionString()
	}
	return c.links[i].connection()
}

func (c *cluster) start(i int, listen string) *process {
	return startServer(c.t, c.data[i], "--listen", listen, "--store", c.connection(i), "--self-preservation=false")
}

func (c *cluster) node(i int) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

// restart kills a node and starts it again at the same address.
func (c *cluster) restart(i int) {
	p := c.node(i)
	_ = p.end(syscall.SIGKILL)
	fresh := c.start(i, strings.TrimPrefix(p.url, "http://"))
	c.mu.Lock()
	c.nodes[i] = fresh
	c.mu.Unlock()
}

var nodeClient = &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// ask sends to a node and returns the status, the body and the reply's position; 0: no answer.
func (c *cluster) ask(i int, method, path, body string) (int, []byte, uint64) {
	r, err := http.NewRequest(method, c.node(i).url+path, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return 0, nil, 0
	}
	resp, err := nodeClient.Do(r)
	if err != nil {
		return 0, nil, 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, 0
	}
	position, _ := strconv.ParseUint(resp.Header.Get("Rollcall-Position"), 10, 64)
	return resp.StatusCode, b, position
}

// operation is what a client did to one instance.
type operation struct {
	kind    string // register, deregister, read
	version string
	key     string
}

// outcome is what it was told: live and a version, gone, or nothing ("unknown").
type outcome struct {
	what    string // ok, gone, live, unknown
	version string
}

// lifecycleModel is one instance: registered with a version, or not.
var lifecycleModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(operation).key
			byKey[key] = append(byKey[key], o)
		}
		var all [][]porcupine.Operation
		for _, part := range byKey {
			all = append(all, part)
		}
		return all
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		version, in, out := state.(string), input.(operation), output.(outcome)
		switch in.kind {
		case "register":
			return true, in.version
		case "deregister":
			switch out.what {
			case "ok":
				return version != "", ""
			case "gone":
				return version == "", version
			}
			return true, "" // unknown: it may have been the last thing that happened
		}
		return out.what == "unknown" || out.version == version, version
	},
}

// Three nodes over one event store take commands of random clients while nodes are killed, paused for
// longer than the ttl and cut off from the store. The history of what clients were told is linearizable
// for each instance; at the end every node's catalog is the fold of the log; nothing acknowledged is
// missing; no instance that was kept alive was expired; each expiry stands once.
func TestThreeNodesOverOneStore(t *testing.T) {
	c := startAnywhere(t)
	c.torture(14*time.Second, func(rng *rand.Rand) {
		victim := rng.IntN(3)
		switch rng.IntN(3) {
		case 0:
			c.restart(victim)
		case 1:
			pid := c.node(victim).Process
			_ = pid.Signal(syscall.SIGSTOP)
			time.Sleep(tortureTTL + 500*time.Millisecond)
			_ = pid.Signal(syscall.SIGCONT)
		case 2:
			if c.links[victim] == nil {
				break
			}
			c.links[victim].set(true)
			time.Sleep(tortureTTL + 500*time.Millisecond)
			c.links[victim].set(false)
		}
	})
}

const tortureTTL = 2 * time.Second

// torture runs clients and keepers for a while, as something befalls again and again, and checks what came of it.
func (c *cluster) torture(lasting time.Duration, befalls func(rng *rand.Rand)) {
	const clients, keepers, ttl = 8, 6, tortureTTL
	t := c.t
	t.Helper()
	var newest atomic.Uint64 // newest position that any client knows
	learn := func(position uint64) {
		for {
			was := newest.Load()
			if position <= was || newest.CompareAndSwap(was, position) {
				return
			}
		}
	}
	began := time.Now()
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var history []porcupine.Operation
	var registered sync.Map // key/version of acknowledged registrations
	for client := range clients {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(client), 42))
			for n := 0; !stopped(); n++ {
				op := operation{kind: []string{"register", "register", "deregister", "read", "read"}[rng.IntN(5)], key: fmt.Sprint("k", rng.IntN(5)), version: fmt.Sprintf("%d-%d", client, n)}
				path, node := c.path("shared", op.key), rng.IntN(3)
				call := time.Since(began).Nanoseconds()
				out := outcome{what: "unknown"}
				var status int
				var body []byte
				var position uint64
				switch op.kind {
				case "register":
					if status, _, position = c.ask(node, "PUT", path, `{"address":"10.0.0.5","ttl":"1h","version":"`+op.version+`"}`); status == 200 || status == 201 {
						out.what = "ok"
						registered.Store(op.key+"/"+op.version, true)
					}
				case "deregister":
					status, _, position = c.ask(node, "DELETE", path, "")
					switch status {
					case 200:
						out.what = "ok"
					case 404:
						out.what = "gone"
					}
				case "read":
					status, body, position = c.ask(node, "GET", fmt.Sprintf("%s&after=%d", path, newest.Load()), "")
					var i struct{ Version string }
					if status == 200 && json.Unmarshal(body, &i) == nil {
						out = outcome{"live", i.Version}
					} else if status == 404 || status == 410 {
						out.what = "gone"
					}
				}
				returned := time.Since(began).Nanoseconds()
				if out.what == "unknown" {
					if op.kind == "read" {
						continue
					}
					returned = 1 << 60 // it may take effect at any time, or never
				} else {
					learn(position)
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: op, Call: call, Output: out, Return: returned})
				mu.Unlock()
				time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
			}
		})
	}
	for k := range keepers { // instances that are kept alive through whichever node answers
		group.Go(func() {
			path, heartbeat := c.path("kept", fmt.Sprint("k", k)), c.path("kept", fmt.Sprintf("k%d/heartbeat", k))
			body := fmt.Sprintf(`{"address":"10.0.0.6","ttl":"%s"}`, ttl)
			for node := k; !stopped(); node++ {
				status, _, _ := c.ask(node%3, "PUT", heartbeat, "")
				if status == 404 {
					c.ask(node%3, "PUT", path, body)
				}
				if status != 0 && status < 500 {
					time.Sleep(200 * time.Millisecond)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for time.Since(began) < lasting {
		befalls(rng)
		time.Sleep(300 * time.Millisecond)
	}
	close(stop)
	group.Wait()

	result := porcupine.CheckOperationsTimeout(lifecycleModel, history, 60*time.Second)
	if result != porcupine.Ok {
		t.Errorf("%d operations: what clients were told is %s", len(history), result)
	}
	c.check(&registered, ttl)
}

// check holds the nodes and the log against each other.
func (c *cluster) check(registered *sync.Map, ttl time.Duration) {
	t := c.t
	t.Helper()
	time.Sleep(ttl + 2*time.Second) // what is kept no longer lapses
	store, err := esdbstore.Open(c.connection(-1), esdbstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	states := map[domain.Key]domain.Instance{}
	beats := map[domain.Key]time.Time{} // newest heartbeat or registration
	var last eventstore.Position
	expired := 0
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		key, ok := e.Stream.InstanceKey()
		if !ok || key.Namespace != c.ns {
			continue
		}
		last = e.Position
		event, err := domain.DecodeEvent(e.Type, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		state := states[key]
		switch x := event.(type) {
		case domain.HeartbeatReceived:
			beats[key] = e.RecordedAt
			continue
		case domain.InstanceRegistered:
			if state.Live() || x.Epoch != state.Epoch+1 {
				t.Errorf("%s registers epoch %d while at %d", key, x.Epoch, state.Epoch)
			}
			beats[key] = e.RecordedAt
			registered.Delete(key.ID + "/" + x.Version)
		case domain.InstanceUpdated:
			beats[key] = e.RecordedAt
			registered.Delete(key.ID + "/" + x.Version)
		case domain.LeaseExpired:
			if expired++; !state.Live() || x.Epoch != state.Epoch {
				t.Errorf("%s expires twice, or in another epoch", key)
			}
			// A heartbeat may be recorded while the expiry is decided on.
			if silent := e.RecordedAt.Sub(beats[key]); silent < ttl-500*time.Millisecond {
				t.Errorf("%s was expired after %s of silence, its ttl is %s", key, silent, ttl)
			}
		}
		state.Key = key
		states[key] = domain.Evolve(state, event, eventstore.RecordOf(&e))
	}
	registered.Range(func(key, _ any) bool {
		t.Errorf("the registration of %s was acknowledged and is not in the log", key)
		return true
	})
	want := map[string]string{}
	for key, state := range states {
		if state.Live() {
			want[key.String()] = fmt.Sprintf("%s epoch %d revision %d", state.Details.Version, state.Epoch, state.Revision())
		}
	}
	for i := range c.nodes {
		status, b, _ := c.ask(i, "GET", fmt.Sprintf("/v1/catalog?ns=%s&after=%d", c.ns, last), "")
		var all struct{ Services []wire.ServiceInstances }
		if status != 200 || json.Unmarshal(b, &all) != nil {
			t.Fatalf("node %d: %d %s", i, status, b)
		}
		got := map[string]string{}
		for _, s := range all.Services {
			for _, x := range s.Instances {
				got[keyOf(&x)] = fmt.Sprintf("%s epoch %d revision %d", x.Version, x.Epoch, x.Revision)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("node %d has\n%v\nwant\n%v", i, got, want)
		}
	}
	t.Logf("%d instances, %d expiries", len(want), expired)
}

// A node whose cluster is away at its start serves the snapshot, says that it is stale, refuses
// commands, and catches up once the cluster is back. Another cluster is refused.
func TestANodeStartsWithoutItsCluster(t *testing.T) {
	c := startCluster(t)
	if status, b, _ := c.ask(0, "PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","ttl":"1h"}`); status != 201 {
		t.Fatal(status, string(b))
	}
	if err := c.node(0).end(syscall.SIGTERM); err != nil { // saves a snapshot
		t.Fatal(err)
	}
	if status, b, _ := c.ask(1, "PUT", "/v1/services/web/instances/b", `{"address":"10.0.0.6","ttl":"1h"}`); status != 201 {
		t.Fatal(status, string(b))
	}
	c.links[0].set(true)
	c.nodes[0] = c.start(0, "127.0.0.1:0")
	get := func() (string, http.Header) {
		resp, err := nodeClient.Get(c.node(0).url + "/v1/services/web/instances")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), resp.Header
	}
	if list, h := get(); !strings.Contains(list, `"id":"a"`) || strings.Contains(list, `"id":"b"`) || h.Get("Rollcall-Lag") == "" || !strings.Contains(h.Get("Rollcall-Warning"), "stale") {
		t.Errorf("without its cluster the node says %s, %v", list, h)
	}
	if status, b, _ := c.ask(0, "GET", "/readyz", ""); status != 503 {
		t.Errorf("without its cluster /readyz says %d %s", status, b)
	}
	if status, b, _ := c.ask(0, "PUT", "/v1/services/web/instances/c", `{"address":"10.0.0.7"}`); status != 503 || !strings.Contains(string(b), "store-unavailable") {
		t.Errorf("without its cluster a command gets %d %s", status, b)
	}
	c.links[0].set(false)
	deadline := time.Now().Add(20 * time.Second)
	for {
		list, _ := get()
		status, _, _ := c.ask(0, "GET", "/readyz", "")
		if strings.Contains(list, `"id":"b"`) && status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with its cluster back the node says %s, %d\n%s", list, status, c.node(0).logs)
		}
		time.Sleep(20 * time.Millisecond)
	}

	// Events of other programs, and broken ones, are kept and passed over.
	c.store.Put("instance-default/web/x", "SomethingElse", []byte(`{"a":1}`), []byte(`{}`))
	c.store.Put("instance-default/web/y", "InstanceRegistered", []byte(`{"epoch":1,"ttl":`), []byte(`nonsense`))
	c.store.Put("instance-nonsense", "InstanceRegistered", []byte(`{}`), nil)
	c.store.Put("billing-7", "Paid", []byte(`{}`), nil)
	if status, b, _ := c.ask(0, "PUT", "/v1/services/web/instances/x", `{"address":"10.0.0.8"}`); status != 201 {
		t.Errorf("after a foreign event in its stream an instance registers with %d %s", status, b)
	}
	if status, b, _ := c.ask(0, "GET", "/metrics", ""); status != 200 || !strings.Contains(string(b), "rollcall_projection_skipped_events 3") {
		t.Errorf("the broken events are not counted: %s", b)
	}

	other, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	if err := c.node(0).end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, errs, code := run(t, nil, "serve", "--data", c.data[0], "--store", other.ConnectionString(), "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(errs, "two clusters are mixed up") {
		t.Errorf("another cluster: exit code %d, %s", code, errs)
	}
}
