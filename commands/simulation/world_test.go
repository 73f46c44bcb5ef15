package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
)

// world is all that a seed drives. Its one goroutine decides everything, in steps of a tick; what it sets going
// has come to rest before it decides the next thing, so that a seed always tells the same story.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	plan plan

	memory    *eventstoretest.Memory
	group     *group                 // the stores of a plan with a cluster, in the place of memory
	committer chan struct{}          // holds a token while a slow commit is under way
	wall      atomic.Int64           // how far the wall clock is off, in nanoseconds
	steps     []clockStep            // of the wall clock
	weather   atomic.Uint32          // a weather
	ambush    atomic.Pointer[func()] // is carried out right before the next expiry is appended

	nodes     []*node
	processes []*process
	keys      []domain.Key
	crowd     []*process // that of a plan with one
	due       []*process // whose agents send their heartbeats in this tick

	// What really happened.
	began     time.Time
	answers   []*answer
	decisions map[string]decision // of operators, by their reasons
	reverts   map[string]*revert  // of operators, by their requests
	planned   *revert             // that is to be carried out; nil: none is
	log       []eventstore.RecordedEvent
	seen      map[string]int // how often something happened that every run must have

	appends  sync.Mutex                        // guards the following: appends that are under way end side by side
	delays   *rand.Rand                        // how long they take
	ambushes []*answer                         // heartbeats that were sent from within an append
	begun    map[eventstore.Position]time.Time // when each event's append was really asked for
	written  map[eventstore.Position]time.Time // when it was really appended
	bad      []span                            // when the registry, or a node of it, was kept from its work
	story    []string
}

// plan is what kind of world it is.
type plan struct {
	nodes    int
	untying  bool // the store cannot tie an append to another stream
	preserve bool
	restores bool
	cluster  bool // each node has its own store of a cluster
	crowd    bool // twenty processes of one namespace that fall silent together
}

// span is a time between two moments.
type span struct{ from, to time.Time }

func (s span) overlaps(other span) bool { return s.from.Before(other.to) && other.from.Before(s.to) }

// answer is a command that a client sent, and what it was told.
type answer struct {
	request  string // id
	by       *process
	command  domain.Command
	ifMatch  *uint64
	sent     time.Time
	over     bool // it was answered
	result   commands.Result
	told     time.Time
	restored bool // the log was restored to a moment before the command's event since

	at    *node      // that was asked
	lost  bool       // the node died before it answered
	reply chan reply // gets the one reply, which the world then takes; never closed
}

// reply is what a node said, and when.
type reply struct {
	result  commands.Result
	at      time.Time
	visible bool // in the node's catalog
}

// node is a Rollcall process.
type node struct {
	name      string
	store     *store
	live      *live.State
	service   *commands.Service
	listening *leases.Listening
	ticks     chan time.Time
	stop      context.CancelFunc
	ended     chan struct{} // closed when its goroutines have ended
	dead      atomic.Bool
	stands    time.Time // it stands still until then
	snapshots projections.Snapshots
}

// patience is how long a client waits for an answer.
const patience = 4 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// newWorld is the world of a seed.
func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 16))
	p := plan{nodes: 1 + rng.IntN(3), untying: rng.IntN(3) == 0, preserve: rng.IntN(2) == 0, restores: rng.IntN(3) == 0, crowd: rng.IntN(4) == 0}
	w := makeWorld(t, seed, rng, p)
	for i := range 3 + rng.IntN(20) {
		w.keys = append(w.keys, domain.Key{Namespace: []string{"prod", "test"}[i%2], Service: fmt.Sprint("s", i%4), ID: fmt.Sprint("i", i)})
	}
	if w.plan.crowd {
		w.gather(20, minTTL+time.Duration(rng.IntN(10_000))*time.Millisecond)
	}
	return w
}

// newClusterWorld is the world of a seed with a cluster of three nodes.
func newClusterWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 20))
	w := makeWorld(t, seed, rng, plan{nodes: 3, cluster: true, preserve: rng.IntN(2) == 0})
	for i := range 3 + rng.IntN(20) {
		w.keys = append(w.keys, domain.Key{Namespace: []string{"prod", "test"}[i%2], Service: fmt.Sprint("s", i%4), ID: fmt.Sprint("i", i)})
	}
	return w
}

// makeWorld is a world of a plan in which nothing happens yet.
func makeWorld(t *testing.T, seed uint64, rng *rand.Rand, p plan) *world {
	w := &world{
		t: t, rng: rng, delays: rand.New(rand.NewPCG(seed, 17)), began: time.Now(), begun: map[eventstore.Position]time.Time{}, written: map[eventstore.Position]time.Time{},
		plan:      p,
		decisions: map[string]decision{}, reverts: map[string]*revert{}, seen: map[string]int{},
		memory: eventstoretest.NewMemory(), committer: make(chan struct{}, 1),
	}
	w.memory.Untying = w.plan.untying
	w.memory.Now = func() time.Time { return time.Now().Round(0).Add(time.Duration(w.wall.Load())) }
	if w.plan.cluster {
		w.group = newGroup(w, seed)
		w.noteClocks()
	}
	for i := range w.plan.nodes {
		w.nodes = append(w.nodes, &node{name: fmt.Sprint("n", i), snapshots: projections.Snapshots{
			Dir: t.TempDir(), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: uuid.UUID{1}, Logger: quiet,
		}})
		w.start(w.nodes[i])
	}
	return w
}

func (w *world) now() weather { return weather(w.weather.Load()) }

// see notes that something happened that every run must have.
func (w *world) see(what string) { w.seen[what]++ }

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%8.1f  ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// start starts a node over the store as it is.
func (w *world) start(n *node) {
	n.store = &store{Store: w.memory, world: w, node: n}
	if w.group != nil {
		if !w.group.open(n) {
			return
		}
		n.store.Store = w.group.stores[n.name]
	}
	ctx, stop := context.WithCancel(context.Background())
	var err error
	if n.live, err = live.Open(ctx, live.Options{Store: n.store, Snapshots: n.snapshots, Now: time.Now, Logger: quiet, SnapshotEvery: 30}); err != nil {
		w.t.Fatalf("node %s does not start: %v", n.name, err)
	}
	state := n.live // a command that waits while the node ends stays with what it began with
	n.listening = leases.NewListening(state.Leases())
	n.service = commands.New(commands.ReportAppends(n.store, n.listening), func() commands.Catalog { return state.Catalog() }, state, nil)
	n.service.Behind = w.group != nil
	expiry := &commands.Expiry{
		Service: n.service, Projections: n.live, Now: time.Now, Recorded: w.recorded(n), Logger: quiet, Preserve: w.plan.preserve, Listening: n.listening, State: n.store.state,
	}
	if w.group != nil {
		expiry.Leadership = w.group.stores[n.name]
	}
	n.stands = time.Time{}
	n.ticks, n.stop, n.ended = make(chan time.Time, 1), stop, make(chan struct{})
	n.dead.Store(false)
	running := make(chan error, 2)
	go func() { running <- state.Run(ctx) }()
	go func() { running <- expiry.Run(ctx, n.ticks) }()
	ended := n.ended
	go func() {
		defer close(ended)
		if err := errors.Join(<-running, <-running); err != nil {
			w.t.Errorf("node %s ended: %v", n.name, err)
		}
	}()
	synctest.Wait()
	w.tell("node %s starts", n.name)
}

// kill ends a node without a word; end lets it save its snapshot.
func (w *world) kill(n *node, orderly bool) {
	n.dead.Store(true)
	w.ambush.Store(nil) // it may be through this node
	if w.group != nil {
		defer w.group.end(n, orderly)
	}
	n.stop()
	<-n.ended
	if orderly {
		if err := n.live.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.tell("node %s ends, orderly: %v", n.name, orderly)
}

// works says whether a node can be asked.
func (n *node) works() bool { return !n.dead.Load() && !time.Now().Before(n.stands) }

// send has a process, or with nil an operator, send a command to a node and waits until it is answered or held up.
func (w *world) send(by *process, actor string, n *node, request commands.Request) *answer {
	number := len(w.answers)
	a := &answer{request: fmt.Sprint("r", number), at: n, by: by, command: request.Command, ifMatch: request.IfMatch, sent: time.Now(), reply: make(chan reply, 1)}
	w.answers = append(w.answers, a)
	service, state := n.service, n.live
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	go func() {
		defer cancel()
		result := carryOut(ctx, service, commands.Caller{Actor: actor, Via: "http", RequestID: a.request}, request, number%2 == 0)
		a.reply <- reply{result, time.Now(), state.Position() >= result.Position}
	}()
	synctest.Wait()
	w.take(a)
	w.tell("%s sends %s %T %+v to %s: %+v", actor, a.request, request.Command, request.Command, n.name, a.result)
	return a
}

// take takes the reply to a command if there is one.
func (w *world) take(a *answer) {
	if a.lost {
		return
	}
	select {
	case r := <-a.reply:
		a.over, a.result, a.told = true, r.result, r.at
		_, beat := a.command.(domain.SendHeartbeat)
		if _, report := a.command.(domain.ReportCheck); report { // most only renew
			beat = true
		}
		if !beat && r.result.Err == nil && !r.visible && a.told.Sub(a.sent) < patience {
			w.t.Errorf("%s was answered with position %d before the node's catalog showed it", a.request, a.result.Position)
		}
	default:
	}
}

// takeAll takes the replies that have come by now.
func (w *world) takeAll() {
	w.appends.Lock()
	w.answers, w.ambushes = append(w.answers, w.ambushes...), nil
	w.appends.Unlock()
	w.takeReverts()
	for _, a := range w.answers {
		if !a.over {
			w.take(a)
		}
	}
}

// appended notes when new events were really appended, and since when their append was under way.
func (w *world) appended(s eventstore.Store, began time.Time) {
	w.appends.Lock()
	defer w.appends.Unlock()
	if s != w.memory {
		return // a store that was left by a restore
	}
	head, _ := s.Head(context.Background())
	for p := eventstore.Position(len(w.written) + 1); p <= head; p++ {
		w.begun[p], w.written[p] = began, time.Now()
	}
}

// delay is how long an append takes in slow weather. No two are the same, so that nothing happens at one time.
func (w *world) delay() time.Duration {
	w.appends.Lock()
	defer w.appends.Unlock()
	return time.Duration(500+w.delays.IntN(2500))*time.Millisecond + time.Duration(w.delays.IntN(1_000_000))
}

// step lets a tick pass: every node's clock, every process, and what fate has in store.
func (w *world) step() {
	time.Sleep(leases.Tick)
	synctest.Wait()
	for _, n := range w.nodes {
		if n.works() {
			select {
			case n.ticks <- time.Now():
			default:
			}
			synctest.Wait()
		}
	}
	w.takeAll()
	for _, p := range w.processes {
		p.live()
	}
	w.beatAll()
}

// run lets the world go on for some time, with all that fate has in store.
func (w *world) run(steps int) {
	for range steps {
		w.step()
		w.fate()
	}
	// In the end the sky clears and the dead are found out.
	w.become(fair)
	for _, n := range w.nodes {
		n.stands = time.Time{}
		if n.dead.Load() {
			w.start(n)
		}
		if n.dead.Load() {
			w.t.Fatalf("node %s does not start", n.name)
		}
	}
	for _, p := range w.processes {
		p.rest()
	}
	for i := 0; i < w.settles() && !w.empty(); i++ {
		if i%700 == 0 { // whoever held expiry
			w.decide(w.nodes[0], decision{"", false, "op0"})
		}
		w.step()
	}
	w.takeAll()
	w.log = w.readLog()
	for _, n := range w.nodes {
		w.kill(n, true)
	}
}

// readLog reads all events. The nodes of a cluster have the same.
func (w *world) readLog() (log []eventstore.RecordedEvent) {
	if w.group != nil {
		return w.group.readEqual()
	}
	return w.read(w.memory)
}

func (w *world) read(s eventstore.Store) (log []eventstore.RecordedEvent) {
	for e, err := range s.ReadAll(w.t.Context(), eventstore.ReadAllOptions{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		log = append(log, e)
	}
	return log
}

// empty says whether no node has an instance any more.
func (w *world) empty() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return n.live.Catalog().Len() > 0 })
}

// settles is how many steps it takes at most until every lease that is not renewed is over.
func (w *world) settles() int {
	d := 2*maxTTL + time.Minute
	if w.plan.preserve {
		d += leases.PreserveFor + 2*leases.ChangeEvery
	}
	return int(d / leases.Tick)
}
