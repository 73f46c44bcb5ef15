package probes_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/probes"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries"
)

// network is what the nodes look at.
type network struct {
	mu    sync.Mutex
	down  bool
	looks map[string]int         // by node
	seen  map[string][]time.Time // by path; nil: it is not noted
	by    map[string]string      // the node that looked last, by path
}

func (w *network) look(node, path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks[node]++
	if w.seen != nil {
		w.seen[path] = append(w.seen[path], time.Now())
		w.by[path] = node
	}
}

func (w *network) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// taken gives how often each node has looked since the last call.
func (w *network) taken() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.looks
	w.looks = map[string]int{}
	return taken
}

// part is one node of a registry: it follows the store, and probes.
type part struct {
	name     string
	service  *commands.Service
	live     *live.State
	stop     context.CancelFunc
	ended    sync.WaitGroup
	node     *probes.OneOfMany
	stuck    atomic.Bool // its commands do not reach the store
	deaf     atomic.Bool // its registrations reach the store, but no answer comes
	shutdown context.CancelFunc
}

func join(t *testing.T, name string, store eventstore.Store, w *network) *part {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	l, err := live.Open(t.Context(), live.Options{
		Store: store, Now: time.Now, Logger: logger,
		Snapshots: projections.Snapshots{Dir: t.TempDir(), Name: "catalog", Version: 1, StoreID: uuid.New(), Logger: logger},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &part{name: name, live: l}
	listening := leases.NewListening(l.Leases())
	p.service = commands.New(commands.ReportAppends(store, listening), func() commands.Catalog { return l.Catalog() }, l, nil)
	node := probes.NewOneOfMany(name, func(key domain.ServiceKey) *catalog.View { return l.Catalog().View(key) }, time.Now)
	p.node = node
	prober := probes.New(probes.Options{
		Look: func(_ context.Context, target *probes.Target, _ string, _ []byte) probes.Finding {
			w.look(name, target.Path)
			time.Sleep(time.Millisecond)
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.down {
				return probes.Finding{Status: 503, Took: time.Millisecond}
			}
			return probes.Finding{Passed: true, Status: 200, Took: time.Millisecond}
		},
		Report: func(ctx context.Context, reports []probes.Report) []error {
			errs := make([]error, len(reports))
			for i, r := range reports {
				errs[i] = p.service.Do(ctx, probes.Caller, commands.Request{Command: r.Command(name)}).Err
			}
			return errs
		},
		Mine: node.Mine, Observer: nobody{}, Now: time.Now, Logger: logger,
	})
	member := &probes.Member{
		Node: node, Process: uuid.NewString(), Address: "127.0.0.1", Logger: logger, OnChange: prober.Rebalance, Shortest: prober.Shortest,
		Do: func(ctx context.Context, c commands.Caller, r commands.Request) commands.Result {
			if p.stuck.Load() {
				<-ctx.Done()
				return commands.Result{Err: ctx.Err()}
			}
			result := p.service.Do(ctx, c, r)
			if _, registers := r.Command.(domain.RegisterInstance); registers && p.deaf.Load() {
				<-ctx.Done()
				return commands.Result{Err: ctx.Err()}
			}
			return result
		},
	}
	running, stop := context.WithCancel(t.Context())
	probing, shutdown := context.WithCancel(running)
	p.stop, p.shutdown = stop, shutdown
	ticker := time.NewTicker(leases.Tick)
	expiry := &commands.Expiry{Service: p.service, Projections: l, Now: time.Now, Logger: logger, Preserve: true, Listening: listening}
	for _, run := range []func() error{
		func() error { return l.Run(running) },
		func() error { return expiry.Run(running, ticker.C) },
		func() error { return prober.Run(probing) },
		func() error { return prober.Follow(probing, &queries.Service{Live: l, Stopping: probing}) },
		func() error { return node.Watch(probing, l.Feed(), prober.Rebalance) },
		func() error { return member.Run(probing) },
	} {
		p.ended.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		p.ended.Wait()
		ticker.Stop()
	})
	return p
}

type nobody struct{}

func (nobody) Looked(domain.ServiceKey, string, string, time.Duration) {}
func (nobody) Late()                                                   {}

func register(t *testing.T, p *part, n int) domain.Key { return registerEvery(t, p, n, 5*time.Second) }

func registerEvery(t *testing.T, p *part, n int, interval time.Duration) domain.Key {
	t.Helper()
	key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("i", n)}
	err := p.service.Do(t.Context(), commands.Caller{Actor: "ann"}, commands.Request{Command: domain.RegisterInstance{Key: key, Details: domain.Details{
		Address: "10.0.0.5", TTL: domain.NoTTL,
		Checks: []domain.Check{{ID: "http", Kind: domain.CheckHTTP, URL: fmt.Sprint("http://10.0.0.5/", n), Interval: domain.Duration(interval), Timeout: domain.Duration(time.Second)}},
	}}}).Err
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// changes are the changes of checks in the log, by who looked.
func changes(t *testing.T, store eventstore.Store) (to []domain.Status, by map[string]int) {
	t.Helper()
	by = map[string]int{}
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != domain.TypeCheckChanged {
			continue
		}
		event, err := domain.DecodeEvent(e.Type, e.Data)
		if err != nil {
			t.Fatal(err)
		}
		changed := event.(domain.CheckChanged)
		to, by[changed.By] = append(to, changed.To), by[changed.By]+1
	}
	return to, by
}

func TestEachInstanceIsProbedByOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := eventstoretest.NewMemory(), &network{looks: map[string]int{}}
		nodes := []*part{join(t, "n1", store, w), join(t, "n2", store, w), join(t, "n3", store, w)}
		time.Sleep(2 * time.Second)
		for n := range 60 {
			register(t, nodes[n%3], n)
		}
		time.Sleep(20 * time.Second)
		if to, by := changes(t, store); len(to) != 60 || len(by) != 3 {
			t.Errorf("%d changes of 60 checks, by %v", len(to), by)
		}
		w.taken()
		time.Sleep(50 * time.Second)
		total := 0
		for _, n := range w.taken() {
			total += n
		}
		if total < 580 || total > 620 {
			t.Errorf("%d looks in ten intervals of 60 checks", total)
		}

		// A node shuts down: the others take over at once.
		nodes[0].shutdown()
		time.Sleep(100 * time.Millisecond)
		w.taken()
		time.Sleep(10 * time.Second)
		taken := w.taken()
		if taken["n1"] != 0 || taken["n2"]+taken["n3"] < 115 {
			t.Errorf("after n1 has left: %v", taken)
		}

		// A node dies: the others take over within two intervals.
		nodes[1].stop()
		time.Sleep(10 * time.Second)
		w.set(true)
		w.taken()
		time.Sleep(5500 * time.Millisecond)
		if taken := w.taken(); taken["n3"] < 60 || len(taken) != 1 {
			t.Errorf("after n2 has died: %v", taken)
		}
		if to, _ := changes(t, store); len(to) != 120 {
			t.Errorf("%d changes", len(to))
		}
	})
}

// A node that stood still, or that does not reach the registry, must not report what is another's by now.
func TestANodeThatLostItsLeaseReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := eventstoretest.NewMemory(), &network{looks: map[string]int{}}
		n1 := join(t, "n1", store, w)
		time.Sleep(time.Second)
		register(t, n1, 1)
		time.Sleep(10 * time.Second)
		n1.stuck.Store(true)
		time.Sleep(probes.LeaseTTL + time.Second) // nobody else is there
		w.set(true)
		time.Sleep(20 * time.Second)
		if to, _ := changes(t, store); len(to) != 1 {
			t.Errorf("without a lease the node reported %v", to)
		}
		n1.stuck.Store(false)
		time.Sleep(20 * time.Second)
		if to, _ := changes(t, store); len(to) != 2 || to[1] != domain.Critical {
			t.Errorf("after it came back: %v", to)
		}
	})
}

// Two processes have one name: the newer one probes.
func TestOfTwoProcessesWithOneNameOneProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, w := eventstoretest.NewMemory(), &network{looks: map[string]int{}}
		first := join(t, "n1", store, w)
		time.Sleep(2 * time.Second)
		for n := range 10 {
			register(t, first, n)
		}
		time.Sleep(5 * time.Second)
		join(t, "n1", store, w)
		time.Sleep(10 * time.Second)
		w.taken()
		time.Sleep(50 * time.Second)
		if looks := w.taken()["n1"]; looks < 95 || looks > 105 {
			t.Errorf("%d looks in ten intervals of 10 checks", looks)
		}
		epochs := 0
		for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			if key, ok := e.Stream.InstanceKey(); err == nil && ok && key.Namespace == domain.RegistryNamespace && e.Type == domain.TypeInstanceRegistered {
				epochs++
			}
		}
		if epochs != 2 {
			t.Errorf("the name was registered %d times", epochs)
		}
	})
}
