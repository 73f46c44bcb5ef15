package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore/raftstoretest"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

var ctx = context.Background()

// patience is how long a test waits for what must come. The machine may be slow.
const patience = 120 * time.Second

// cluster is a cluster in this process.
type cluster struct {
	t       testing.TB
	fabric  *raftstoretest.Fabric
	nodes   map[string]*raftstore.Store // those that run
	disks   map[string]vfs.FS
	members map[string]string
	change  func(*raftstore.Config)
}

func newCluster(t testing.TB, names ...string) *cluster {
	c := &cluster{t: t, fabric: raftstoretest.NewFabric(1), nodes: map[string]*raftstore.Store{}, disks: map[string]vfs.FS{}, members: map[string]string{}}
	for _, name := range names {
		c.members[name] = "address of " + name
	}
	t.Cleanup(func() {
		c.fabric.Heal()
		for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
			c.stop(name)
		}
	})
	return c
}

func logger(t testing.TB) *slog.Logger {
	if os.Getenv("ROLLCALL_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (c *cluster) config(name string) raftstore.Config {
	if c.disks[name] == nil {
		c.disks[name] = vfs.NewMem()
	}
	address := "address of " + name
	config := raftstore.Config{
		Node: name, Members: c.members, Listen: address, Join: c.members[name] == "", Dir: "data", Tick: 20 * time.Millisecond,
		Network: c.fabric.Endpoint(name), Store: pebblestore.Options{FS: c.disks[name]}, Logger: logger(c.t),
	}
	if c.change != nil {
		c.change(&config)
	}
	return config
}

// start opens a node. It does not wait until the node is ready.
func (c *cluster) start(name string) *raftstore.Store {
	c.t.Helper()
	s, err := raftstore.Open(c.config(name))
	if err != nil {
		c.t.Fatalf("open %s: %v", name, err)
	}
	c.nodes[name] = s
	return s
}

func (c *cluster) stop(name string) {
	c.t.Helper()
	s := c.nodes[name]
	delete(c.nodes, name)
	if err := s.Close(); err != nil {
		c.t.Errorf("close %s: %v", name, err)
	}
}

// startAll opens all members and waits until each has the store and a leader.
func (c *cluster) startAll() {
	c.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(c.members)) {
		if c.nodes[name] == nil {
			c.start(name)
		}
	}
	for _, s := range c.nodes {
		c.ready(s)
	}
}

func (c *cluster) ready(s *raftstore.Store) {
	c.t.Helper()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.Ready(within); err != nil {
		c.t.Fatalf("not ready: %v", err)
	}
	c.until("a leader", func() bool { return s.Err() == nil && s.Status().Leader != "" })
}

// until waits for a condition.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for began := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			for name, s := range c.nodes {
				c.t.Logf("%s: %+v", name, s.Status())
			}
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// leader waits for a node that leads, and gives its name.
func (c *cluster) leader() (name string) {
	c.t.Helper()
	c.until("a node that leads", func() bool {
		for n, s := range c.nodes {
			if _, ok := s.Leads(); ok {
				name = n
				return true
			}
		}
		return false
	})
	return name
}

// follower is the name of a node that does not lead.
func (c *cluster) follower() string {
	c.t.Helper()
	leader := c.leader()
	for _, n := range slices.Sorted(maps.Keys(c.nodes)) {
		if n != leader {
			return n
		}
	}
	c.t.Fatal("there is no follower")
	return ""
}

// The promises of the port hold on one node, and on three at the leader and at a follower. A short run has each promise checked
// at one of the two, by turns.
func TestConformance(t *testing.T) {
	turn := 0
	byTurns := func(c *cluster) string {
		if turn++; turn%2 == 0 {
			return c.leader()
		}
		return c.follower()
	}
	type place struct {
		name  string
		nodes []string
		which func(*cluster) string
	}
	places := []place{{"one node", []string{"n1"}, (*cluster).leader}, {"three nodes", three, byTurns}}
	if os.Getenv("ROLLCALL_TORTURE") != "" {
		places = append(places, place{"the leader of three nodes", three, (*cluster).leader}, place{"a follower of three nodes", three, (*cluster).follower})
	}
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) {
			c := newCluster(t, at.nodes...)
			c.startAll()
			eventstoretest.Run(t, func(t *testing.T) *eventstoretest.Fixture {
				for name, s := range c.nodes {
					if errors.Is(s.Err(), eventstore.ErrClosed) { // a test closes the store
						c.ready(c.start(name))
					}
				}
				name := at.which(c)
				f := &eventstoretest.Fixture{Store: c.nodes[name], Shared: true}
				f.Reopen = func() eventstore.Store {
					c.stop(name)
					s := c.start(name)
					c.ready(s)
					f.Store = s
					return s
				}
				return f
			})
		})
	}
}

func events(n int, label string) (made []eventstore.EventData) {
	for i := range n {
		made = append(made, eventstore.EventData{Type: "InstanceUpdated", Data: fmt.Appendf(nil, `{"label":%q,"i":%d}`, label, i), Metadata: []byte(`{"schema":1}`)})
	}
	return made
}
