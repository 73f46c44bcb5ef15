package simulation

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore/raftstoretest"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// group is a cluster: each node has a store of its own, and a network between them that fails.
type group struct {
	world  *world
	fabric *raftstoretest.Fabric
	rng    *rand.Rand
	names  []string
	disks  map[string]*vfs.MemFS
	stores map[string]*raftstore.Store // of the nodes that run
	skews  map[string]*atomic.Int64    // of the nodes' wall clocks, in nanoseconds
	asked  map[uuid.UUID]time.Time     // when the append of an event was asked for; guarded by world.appends
}

func newGroup(w *world, seed uint64) *group {
	g := &group{
		world: w, fabric: raftstoretest.NewFabric(seed), rng: rand.New(rand.NewPCG(seed, 19)), disks: map[string]*vfs.MemFS{}, stores: map[string]*raftstore.Store{},
		skews: map[string]*atomic.Int64{}, asked: map[uuid.UUID]time.Time{},
	}
	for i, name := range []string{"n0", "n1", "n2"} {
		g.names, g.disks[name] = append(g.names, name), vfs.NewCrashableMem()
		g.skews[name] = new(atomic.Int64)
		g.skews[name].Store(int64(time.Duration(i*(g.rng.IntN(20)-10)) * time.Minute))
	}
	for _, name := range g.names {
		g.run(name)
	}
	return g
}

// run starts the store of a node.
func (g *group) run(name string) {
	w, members := g.world, map[string]string{}
	for _, n := range g.names {
		members[n] = "address of " + n
	}
	now := func() time.Time { return time.Now().Round(0).Add(time.Duration(w.wall.Load() + g.skews[name].Load())) }
	goesOn := func() time.Duration { return time.Since(w.began) } // whatever becomes of the wall clock
	s, err := raftstore.Open(raftstore.Config{
		Node: name, Members: members, Dir: "data", LogBytes: 64 << 10, Network: g.fabric.Endpoint(name), Store: pebblestore.Options{FS: g.disks[name], Now: now, Monotonic: goesOn},
	})
	if err != nil {
		w.t.Fatalf("the store of node %s does not start: %v", name, err)
	}
	g.stores[name] = s
}

// open has a node find its store level with the others'. It is false if the node does not reach a majority.
func (g *group) open(n *node) bool {
	for _, name := range g.names { // of nodes that start at the same time
		if g.stores[name] == nil && (name == n.name || len(g.stores) < 2) {
			g.run(name)
		}
	}
	store := g.stores[n.name]
	within, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if store.Ready(within) != nil {
		return false
	}
	for within.Err() == nil {
		if _, err := store.Head(within); err == nil {
			sub, err := store.Subscribe(context.Background(), eventstore.SubscribeOptions{})
			if err != nil {
				g.world.t.Fatal(err)
			}
			go g.watch(sub)
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// watch notes when events came to a node, until its store is closed.
func (g *group) watch(sub eventstore.Subscription) {
	w := g.world
	for {
		events, _, err := sub.Next(context.Background())
		if err != nil {
			if !errors.Is(err, eventstore.ErrClosed) {
				w.t.Errorf("a subscription ended: %v", err)
			}
			return
		}
		w.appends.Lock()
		for i := range events {
			if e := &events[i]; w.written[e.Position].IsZero() {
				w.begun[e.Position], w.written[e.Position] = g.asked[e.ID], time.Now()
			}
		}
		w.appends.Unlock()
	}
}

// replicate is an append of a node of a cluster. The events get ids, by which their append is known.
func (s *store) replicate(ctx context.Context, into []eventstore.AppendResult, requests []eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	w := s.world
	named := slices.Clone(requests)
	w.appends.Lock()
	for i := range named {
		named[i].Events = slices.Clone(named[i].Events)
		for j := range named[i].Events {
			e := &named[i].Events[j]
			if e.ID == uuid.Nil {
				e.ID = uuid.New()
			}
			w.group.asked[e.ID] = time.Now()
		}
	}
	w.appends.Unlock()
	return s.Store.Append(ctx, into, named...)
}

// end ends the store of a node: in good order, or by a loss of power, after which what was not synced may be gone.
func (g *group) end(n *node, orderly bool) {
	w, store := g.world, g.stores[n.name]
	if store == nil {
		return
	}
	delete(g.stores, n.name)
	if orderly {
		if err := store.Close(); err != nil {
			w.t.Errorf("close the store of node %s: %v", n.name, err)
		}
		return
	}
	w.see("a node of a cluster loses its power")
	w.takeAll()
	for _, a := range w.answers { // what it answers from here on nobody hears
		a.lost = a.lost || !a.over && a.at == n
	}
	g.fabric.Unplug(n.name, true)
	g.disks[n.name] = g.disks[n.name].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: g.rng.IntN(101), RNG: g.rng})
	_ = store.Close() // it complains of what is cut off
	g.fabric.Unplug(n.name, false)
}

// mostCurrent is the store of the node that has most of the log.
func (g *group) mostCurrent() *raftstore.Store {
	return slices.MaxFunc(slices.Collect(maps.Values(g.stores)), func(a, b *raftstore.Store) int { return int(a.Durable()) - int(b.Durable()) })
}

// fate has the network, or a node, fail or recover.
func (g *group) fate() {
	w := g.world
	if w.now() != fair && w.chance(60) {
		w.become(fair)
		return
	}
	if w.now() != fair || !w.chance(150) {
		return
	}
	w.kept(w.anotherMinute())
	switch name := pick(w, g.names); w.rng.IntN(7) {
	case 0:
		g.cutOff(name, true, true)
	case 1:
		g.cutOff(name, true, false)
	case 2:
		g.cutOff(name, false, true)
	case 3:
		g.cutOff(g.leader(), true, true)
	case 4:
		for _, other := range g.names { // nobody has a majority
			g.cutOff(other, true, true)
		}
		w.see("a cluster has no majority")
	case 5:
		for _, from := range g.names {
			for _, to := range g.names {
				if from != to {
					g.fabric.Worsen(from, to, time.Duration(g.rng.IntN(400))*time.Millisecond, 0.02*g.rng.Float64())
				}
			}
		}
		w.see("a cluster's links are slow and lossy")
	case 6:
		store := g.stores[name]
		if store == nil {
			return
		}
		within, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := store.Transfer(within, pick(w, g.names)); err == nil {
			w.see("a node of a cluster gives the lead to another")
		}
		return
	}
	w.weather.Store(uint32(away))
	w.tell("the network of the cluster fails; %s leads", g.leader())
}

// cutOff cuts what a node says, what it hears, or both.
func (g *group) cutOff(name string, says, hears bool) {
	for _, other := range g.names {
		if says && other != name {
			g.fabric.Cut(name, other)
		}
		if hears && other != name {
			g.fabric.Cut(other, name)
		}
	}
	g.world.see("a node of a cluster is cut off")
}

// leader is a node that believes that it leads, or any.
func (g *group) leader() string {
	for _, name := range g.names {
		if s := g.stores[name]; s != nil {
			if _, ok := s.Leads(); ok {
				return name
			}
		}
	}
	return pick(g.world, g.names)
}

// readEqual reads the log of a node, and holds those of the others against it.
func (g *group) readEqual() (first []eventstore.RecordedEvent) {
	w := g.world
	var head eventstore.Position
	for _, name := range g.names {
		within, cancel := context.WithTimeout(context.Background(), time.Minute)
		at, err := g.stores[name].Head(within)
		cancel()
		if err != nil {
			w.t.Fatalf("the head of node %s: %v", name, err)
		}
		head = max(head, at)
	}
	for _, name := range g.names {
		for began := time.Now(); g.stores[name].Durable() < head && time.Since(began) < time.Minute; {
			time.Sleep(100 * time.Millisecond)
		}
		log := w.read(g.stores[name])
		if first == nil {
			first = log
		}
		if !reflect.DeepEqual(first, log) {
			w.t.Errorf("node %s has %d events, and node %s %d, or others", g.names[0], len(first), name, len(log))
		}
	}
	ids := map[uuid.UUID]bool{}
	for i, e := range first {
		if ids[e.ID] {
			w.t.Errorf("the event at position %d is there twice", e.Position)
		}
		ids[e.ID] = true
		if i > 0 && (e.Position <= first[i-1].Position || e.RecordedAt.Before(first[i-1].RecordedAt)) {
			w.t.Errorf("position %d follows position %d, or was recorded before it", e.Position, first[i-1].Position)
		}
	}
	return first
}
