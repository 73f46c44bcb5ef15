package simulation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/live"
)

// operation is what a client asks of one instance.
type operation struct {
	kind    string // register, create, update, heartbeat, deregister or read
	key     domain.Key
	version string // of a registration
	match   uint64 // the revision that an update expects
	once    string // the key under which it is carried out once; "": none
}

// told is what a client was told of an instance.
type told struct {
	what     string // done, refused, or unknown; of a read: live or gone
	epoch    uint64
	revision uint64
	version  string
}

// registration is an instance's state, as far as clients see it.
type registration struct {
	live    bool
	epoch   uint64
	events  uint64
	version string
}

// oneRegistry is a registry that carries out one operation after the other.
var oneRegistry = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byKey := map[domain.Key]int{}
		for _, o := range history {
			key := o.Input.(operation).key
			if _, ok := byKey[key]; !ok {
				byKey[key] = len(parts)
				parts = append(parts, nil)
			}
			parts[byKey[key]] = append(parts[byKey[key]], o)
		}
		return parts
	},
	Init: func() any { return registration{} },
	Step: func(state, input, output any) (bool, any) {
		was, op, out := state.(registration), input.(operation), output.(told)
		now, done := was.after(op)
		switch {
		case out.what == "unknown":
			return true, now
		case out.what == "gone" || out.what == "live":
			return (out.what == "live") == was.live && (!was.live || out == told{"live", was.epoch, was.events - 1, was.version}), was
		case out.what == "refused":
			return !done, was
		}
		return done && out.epoch == now.epoch && out.revision == now.events-1, now
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// after is the state after an operation. done is false if the operation must be refused.
func (r registration) after(op operation) (next registration, done bool) {
	switch op.kind {
	case "register", "create", "update":
		if op.kind == "create" && r.live || op.kind == "update" && (!r.live || r.events-1 != op.match) {
			return r, false
		}
		next = registration{true, r.epoch, r.events + 1, op.version}
		if !r.live {
			next.epoch++
		}
		return next, true
	case "heartbeat":
		return r, r.live
	case "deregister":
		if !r.live {
			return r, false
		}
		return registration{false, r.epoch, r.events + 1, r.version}, true
	}
	return r, true
}

// seat is a node from its start to its end, as clients see it.
type seat struct {
	service *commands.Service
	live    *live.State
	died    atomic.Bool // what it answers from now on nobody hears
}

// history is what clients did.
type history struct {
	mu         sync.Mutex
	operations []porcupine.Operation
	newest     eventstore.Position // that any client was told
	began      time.Time
}

// clients are those of one world.
type clients struct {
	world *world
	seats [3]atomic.Pointer[seat]
	stop  chan struct{}
	// repeated counts the commands with a key whose outcome was known when they had been sent again.
	repeated atomic.Int64
	history
}

// run sends operations of one client to any node until the clients stop.
func (c *clients) run(number int, rng *rand.Rand) {
	revisions := map[domain.Key]uint64{} // that the client was told
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(1+rng.IntN(400)) * time.Millisecond):
		}
		s := c.seats[rng.IntN(len(c.seats))].Load()
		if s == nil {
			continue
		}
		op := operation{
			kind: []string{"register", "create", "update", "update", "heartbeat", "deregister", "read", "read"}[rng.IntN(8)],
			key:  domain.Key{Namespace: "prod", Service: "web", ID: fmt.Sprint(rng.IntN(4))}, version: fmt.Sprintf("%d-%d", number, n),
		}
		op.match = revisions[op.key]
		if rng.IntN(2) == 0 && op.kind != "heartbeat" && op.kind != "read" {
			op.once = op.version
		}
		called := time.Since(c.began)
		out, at, known := s.carryOut(op, c.newestTold())
		if !known { // it was refused for want of a leader, and nothing was written
			continue
		}
		if op.once != "" && (out.what == "unknown" || rng.IntN(3) == 0) { // or its answer is lost
			out, at = c.again(op, rng)
		}
		returned := int64(time.Since(c.began))
		if out.what == "unknown" {
			if op.kind == "read" || op.kind == "heartbeat" {
				continue
			}
			returned = math.MaxInt64
		} else if out.what == "done" || out.what == "live" {
			revisions[op.key] = out.revision
		}
		c.mu.Lock()
		if out.what != "unknown" {
			c.newest = max(c.newest, at)
		}
		c.operations = append(c.operations, porcupine.Operation{ClientId: number, Input: op, Call: int64(called), Output: out, Return: returned})
		c.mu.Unlock()
	}
}

// again sends an operation with a key again, at any node, until its outcome is known.
func (c *clients) again(op operation, rng *rand.Rand) (out told, at eventstore.Position) {
	for range 20 {
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		if s := c.seats[rng.IntN(len(c.seats))].Load(); s != nil {
			var known bool
			if out, at, known = s.carryOut(op, 0); known && out.what != "unknown" {
				c.repeated.Add(1)
				return out, at
			}
		}
	}
	return told{what: "unknown"}, 0
}

func (c *clients) newestTold() eventstore.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// carryOut has a node carry out an operation, or read after a position. known is false if the node says that it has no leader:
// then it has written nothing.
func (s *seat) carryOut(op operation, after eventstore.Position) (out told, at eventstore.Position, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request := commands.Request{}
	register := domain.RegisterInstance{Key: op.key, Details: domain.Details{Address: "10.0.0.5", TTL: domain.NoTTL, Version: op.version}}
	switch op.kind {
	case "read":
		if s.live.WaitFor(ctx, after) != nil {
			return told{what: "unknown"}, 0, true
		}
		view, at := s.live.Snapshot(op.key.ServiceKey())
		for _, e := range view.Entries {
			if e.ID() == op.key.ID {
				return told{"live", e.Epoch(), e.Revision(), e.Details().Version}, at, true
			}
		}
		return told{what: "gone"}, at, true
	case "create":
		register.CreateOnly = true
		request.Command = register
	case "update":
		request.Command, request.IfMatch = register, &op.match
	case "register":
		request.Command = register
	case "heartbeat":
		request.Command = domain.SendHeartbeat{Key: op.key}
	case "deregister":
		request.Command = domain.DeregisterInstance{Key: op.key, Reason: "over"}
	}
	request.Once = op.once
	result := carryOut(ctx, s.service, commands.Caller{Actor: "client", Via: "http"}, request, strings.HasSuffix(op.version, "1"))
	switch {
	case s.died.Load():
		return told{what: "unknown"}, 0, true
	case result.Err == nil:
		return told{"done", result.Epoch, result.Revision, ""}, result.Position, true
	case refused(result.Err):
		return told{what: "refused"}, 0, true
	case errors.Is(result.Err, eventstore.ErrNoLeader):
		return told{}, 0, false
	}
	return told{what: "unknown"}, 0, true
}

// What clients of a cluster are told, by any of its nodes and while nodes and links fail, is what one registry would have told
// them that carries out one operation after the other. A command with a key whose answer is lost is sent again, and carried out once.
func TestWhatClientsOfAClusterAreToldIsLinearizable(t *testing.T) {
	first, n, steps := uint64(1), uint64(1), 600 // a minute
	if s := os.Getenv("ROLLCALL_SEED"); s != "" {
		first, n = number(t, s), 1
	} else if s := os.Getenv("ROLLCALL_SEEDS"); s != "" {
		n = max(number(t, s)/50, n)
	} else {
		steps = 300
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			var operations []porcupine.Operation
			synctest.Test(t, func(t *testing.T) { operations = historyOf(t, seed, steps) })
			result, info := porcupine.CheckOperationsVerbose(oneRegistry, operations, 2*time.Minute)
			refusals := 0
			for _, o := range operations {
				if o.Output.(told).what == "refused" {
					refusals++
				}
			}
			t.Logf("%d operations, %d of them refused: %s", len(operations), refusals, result)
			if result == porcupine.Ok && refusals > 0 {
				return
			}
			t.Errorf("ROLLCALL_SEED=%d: the history of clients is not linearizable, or nothing was refused", seed)
			if path := os.Getenv("ROLLCALL_HISTORY"); path != "" {
				if err := porcupine.VisualizePath(oneRegistry, info, path); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// historyOf is what clients did and were told in a number of steps of a world.
func historyOf(t *testing.T, seed uint64, steps int) []porcupine.Operation {
	w := makeWorld(t, seed, rand.New(rand.NewPCG(seed, 21)), plan{nodes: 3, cluster: true})
	c := &clients{world: w, stop: make(chan struct{}), history: history{began: time.Now()}}
	sit := func(i int) {
		if n := w.nodes[i]; !n.dead.Load() {
			c.seats[i].Store(&seat{service: n.service, live: n.live})
		}
	}
	for i := range w.nodes {
		sit(i)
	}
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() { c.run(i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for range steps {
		w.step()
		w.group.fate()
		switch i := w.rng.IntN(len(w.nodes)); {
		case w.nodes[i].dead.Load() && w.chance(10) && w.now() == fair:
			w.start(w.nodes[i])
			sit(i)
		case !w.nodes[i].dead.Load() && w.chance(200):
			c.seats[i].Swap(nil).died.Store(true)
			w.kill(w.nodes[i], w.chance(2))
		}
	}
	close(c.stop)
	group.Wait()
	w.run(0)
	t.Logf("%d commands with a key were sent again", c.repeated.Load())
	return slices.Clip(c.operations)
}
