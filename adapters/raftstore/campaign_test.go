package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// campaign has clients append to all nodes while faults happen, and then holds the stores against what the clients were told.
type campaign struct {
	*cluster
	rng   *rand.Rand // of the faults
	names []string
	halt  chan struct{}
	real  bool // time is real: in a synctest bubble a stuck disk would hold up time itself

	mu      sync.Mutex
	running map[string]*incarnation
	memory  map[string]*vfs.MemFS
	stalls  map[string]*stall
	space   map[string]*disk
	skews   map[string]time.Duration
	rules   map[string]uint64 // that the version of a node knows
	told    []told
	acked   atomic.Int64
	unknown atomic.Int64
}

// incarnation is a node from its start to its end.
type incarnation struct {
	store *raftstore.Store
	ended atomic.Bool // what the node answers from now on is not known to the client
}

// told is what a client was told of one event.
type told struct {
	id       uuid.UUID
	stream   eventstore.StreamName
	position eventstore.Position // 0: the event must not be there
	revision eventstore.Revision
}

func newCampaign(t *testing.T, seed uint64, names ...string) *campaign {
	c := &campaign{cluster: newCluster(t, names...), rng: rand.New(rand.NewPCG(seed, 99)), names: names, halt: make(chan struct{}), running: map[string]*incarnation{}}
	c.memory, c.stalls, c.space, c.skews = map[string]*vfs.MemFS{}, map[string]*stall{}, map[string]*disk{}, map[string]time.Duration{}
	c.rules = map[string]uint64{}
	c.change = func(config *raftstore.Config) {
		skew := c.skews[config.Node]
		config.Store.MinFree, config.Rules = 1<<20, c.rules[config.Node]
		config.LogBytes, config.GiveUp, config.Store.Now = 32<<10, 3*time.Second, func() time.Time { return time.Now().Add(skew) }
	}
	for i, name := range names {
		c.stalls[name], c.space[name], c.rules[name] = &stall{}, &disk{}, 1
		c.mount(name, vfs.NewCrashableMem())
		c.skews[name] = time.Duration(c.rng.IntN(20)-10) * time.Minute * time.Duration(min(i, 1)) // clocks are apart
	}
	c.startAll()
	for _, name := range names {
		c.running[name] = &incarnation{store: c.nodes[name]}
	}
	return c
}

// mount gives a node a disk.
func (c *campaign) mount(name string, fs *vfs.MemFS) {
	c.memory[name] = fs
	c.disks[name] = &sized{errorfs.Wrap(fs, c.stalls[name]), c.space[name]}
}

// at gives the present incarnation of a node, or nil.
func (c *campaign) at(name string) *incarnation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[name]
}

// client appends events at any node until the campaign stops. Several clients contend for the same revisions.
func (c *campaign) client(t *testing.T, number int, rng *rand.Rand) {
	for n := 0; ; n++ {
		select {
		case <-c.halt:
			return
		case <-time.After(time.Duration(rng.IntN(10_000)) * time.Microsecond):
		}
		in := c.at(c.names[rng.IntN(len(c.names))])
		if in == nil {
			time.Sleep(time.Millisecond)
			continue
		}
		key := domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint(rng.IntN(4))}
		stream := eventstore.LifecycleStream(key)
		if rng.IntN(2) == 0 {
			stream = eventstore.HeartbeatStream(key)
		}
		request := eventstore.AppendRequest{Stream: stream, Events: events(1, fmt.Sprintf("%d-%d-%0300d", number, n, 0))}
		request.Events[0].ID = uuid.New()
		if rng.IntN(2) == 0 {
			request.Expected = c.nextOf(in, stream)
		}
		c.append(t, in, request, rng)
	}
}

// nextOf is the precondition that nothing follows the newest event that a node knows.
func (c *campaign) nextOf(in *incarnation, stream eventstore.StreamName) eventstore.ExpectedRevision {
	for e, err := range in.store.ReadStream(ctx, stream, eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
		if err == nil {
			return eventstore.Exactly(e.Revision)
		}
	}
	return eventstore.NoStream()
}

// append appends one event. An unknown outcome is asked for by the same append at another node.
func (c *campaign) append(t *testing.T, in *incarnation, request eventstore.AppendRequest, rng *rand.Rand) {
	attempts := 0
	for {
		attempts++
		results, err := in.store.Append(ctx, nil, request)
		if in.ended.Load() {
			err = errors.New("the node died before it answered")
		}
		say := told{id: request.Events[0].ID, stream: request.Stream}
		switch {
		case err == nil && results[0].Err == nil:
			say.position, say.revision = results[0].Position, results[0].Revision
			c.tell(say)
			c.acked.Add(1)
			c.readElsewhere(t, say, rng)
			return
		case err == nil && errors.As(results[0].Err, new(*eventstore.WrongExpectedRevision)):
			if attempts == 1 || !request.Expected.IsAny() { // a retry with a precondition would have been found
				c.tell(say)
			}
			return
		case err == nil:
			t.Errorf("an append gave %v", results[0].Err)
			return
		case (errors.Is(err, eventstore.ErrNoLeader) || errors.Is(err, eventstore.ErrDiskFull)) && attempts == 1:
			c.tell(say)
			time.Sleep(5 * time.Millisecond)
			return
		}
		c.unknown.Add(1)
		exact := !request.Expected.IsAny() // without a precondition a retry is known only while the event is the newest
		if rng.IntN(2) == 0 || !exact {
			return
		}
		for {
			select {
			case <-c.halt:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if in = c.at(c.names[rng.IntN(len(c.names))]); in != nil {
				break
			}
		}
	}
}

func (c *campaign) tell(say told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, say)
}

// readElsewhere holds another node's Head to what was answered before.
func (c *campaign) readElsewhere(t *testing.T, say told, rng *rand.Rand) {
	if rng.IntN(8) != 0 {
		return
	}
	in := c.at(c.names[rng.IntN(len(c.names))])
	if in == nil {
		return
	}
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if head, err := in.store.Head(within); err == nil && head < say.position {
		t.Errorf("after an append at position %d was answered, the head of a node is %d", say.position, head)
	}
}

// verify holds all stores against each other and against what the clients were told.
func (c *campaign) verify(t *testing.T) {
	t.Helper()
	c.fabric.Heal()
	for _, name := range c.names {
		if c.nodes[name] == nil {
			c.restart(name)
		}
	}
	for _, s := range c.nodes {
		c.ready(s)
	}
	c.until("equal heads", func() bool {
		heads := map[eventstore.Position]bool{}
		for _, s := range c.nodes {
			within, cancel := context.WithTimeout(ctx, 5*time.Second)
			head, err := s.Head(within)
			cancel()
			if err != nil {
				return false
			}
			heads[head] = true
		}
		return len(heads) == 1
	})
	newest := slices.Min(slices.Collect(maps.Values(c.rules)))
	c.until("the newest rules that all nodes know", func() bool {
		return !slices.ContainsFunc(c.names, func(name string) bool { return c.nodes[name].Status().Rules != newest })
	})
	var first []eventstore.RecordedEvent
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		all := readAll(t, c.nodes[name])
		if first == nil {
			first = all
			continue
		}
		if !reflect.DeepEqual(first, all) {
			t.Errorf("%s has %d events, another node %d, or other ones: %s", name, len(all), len(first), difference(first, all))
		}
	}
	places := map[uuid.UUID]eventstore.RecordedEvent{}
	for i, e := range first {
		if before, ok := places[e.ID]; ok {
			t.Errorf("event %s is there twice: %s, revision %d at %d and %d at %d", e.ID, e.Stream, before.Revision, before.Position, e.Revision, e.Position)
		}
		places[e.ID] = e
		if i > 0 && e.RecordedAt.Before(first[i-1].RecordedAt) {
			t.Errorf("position %d was recorded at %s, the event before at %s", e.Position, e.RecordedAt, first[i-1].RecordedAt)
		}
		if e.Position != eventstore.Position(i+1) {
			t.Fatalf("position %d is in place %d", e.Position, i+1)
		}
	}
	for _, say := range c.told {
		e, ok := places[say.id]
		if ok != (say.position != 0) || ok && (e.Position != say.position || e.Revision != say.revision || e.Stream != say.stream) {
			t.Errorf("a client was told %+v, and the store has %t %s %d %d", say, ok, e.Stream, e.Revision, e.Position)
		}
	}
	t.Logf("%d events, %d acknowledged, %d unknown outcomes", len(first), c.acked.Load(), c.unknown.Load())
	if c.acked.Load() == 0 {
		t.Error("nothing was acknowledged")
	}
}

func readAll(t testing.TB, s eventstore.Store) (all []eventstore.RecordedEvent) {
	t.Helper()
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func difference(a, b []eventstore.RecordedEvent) string {
	for i := range min(len(a), len(b)) {
		if !reflect.DeepEqual(a[i], b[i]) {
			return fmt.Sprintf("at %d\n%+v\n%+v", i, a[i], b[i])
		}
	}
	return "one is shorter"
}

// follow reads a node's events as they come, over the end of its process, and finds no gap and no repeat.
func (c *campaign) follow(t *testing.T, name string) {
	position := eventstore.Position(0)
	for {
		in := c.at(name)
		select {
		case <-c.halt:
			return
		default:
		}
		if in == nil {
			time.Sleep(time.Millisecond)
			continue
		}
		position = 0 // a node may be at an earlier event after the loss of power
		sub, err := in.store.Subscribe(ctx, eventstore.SubscribeOptions{})
		for err == nil {
			within, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			var got []eventstore.RecordedEvent
			got, _, err = sub.Next(within)
			cancel()
			for _, e := range got {
				if e.Position != position+1 {
					t.Errorf("%s: position %d follows %d", name, e.Position, position)
				}
				position = e.Position
			}
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			select {
			case <-c.halt:
				err = eventstore.ErrClosed
			default:
			}
		}
		if sub != nil {
			_ = sub.Close()
		}
		time.Sleep(time.Millisecond)
	}
}

// run runs faults while clients append.
func (c *campaign) run(t *testing.T, seed uint64, faults int) {
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() { c.client(t, n, rand.New(rand.NewPCG(seed, uint64(n)))) })
	}
	for _, name := range c.names {
		group.Go(func() { c.follow(t, name) })
	}
	for range faults {
		before := c.acked.Load()
		what := c.fault()
		c.until("appends to go on after: "+what, func() bool { return c.acked.Load() > before })
		t.Log(what)
	}
	close(c.halt)
	group.Wait()
	c.verify(t)
}

// Whatever happens to nodes and links, what a client was told stands, on every node.
func TestNothingThatWasAnsweredIsTakenBack(t *testing.T) {
	seeds, faults := 1, 6
	if os.Getenv("ROLLCALL_TORTURE") != "" {
		seeds, faults = 100, 50
	}
	if n, err := strconv.Atoi(os.Getenv("ROLLCALL_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newCampaign(t, seed, three...).run(t, seed, faults) })
		})
	}
	for seed := range uint64(seeds / 30) { // with disks that are stuck
		t.Run(fmt.Sprint("in real time, seed ", seed), func(t *testing.T) {
			c := newCampaign(t, seed, three...)
			c.real = true
			c.run(t, seed, faults)
		})
	}
}
