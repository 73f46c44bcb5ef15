package raftstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// rules are the versions of the rules of the nodes that run.
func (c *cluster) rules() string {
	text := ""
	for _, name := range three {
		if s := c.nodes[name]; s != nil {
			text += fmt.Sprint(name, "=", s.Status().Rules, " ")
		}
	}
	return text
}

// formats says which of the nodes that run write in the newest format of the store.
func (c *cluster) formats() string {
	text := ""
	for _, name := range three {
		if s := c.nodes[name]; s != nil {
			format := "earlier"
			if s.Embedded().HasNewestFormat() {
				format = "newest"
			}
			text += fmt.Sprint(name, "=", format, " ")
		}
	}
	return text
}

// Three nodes are upgraded one by one while clients append. The next version of the rules begins when the last node has it,
// nothing is lost, and a node of the earlier version is refused from then on.
func TestARollingUpgradeBeginsTheNextRulesAtItsEnd(t *testing.T) {
	c := newCluster(t, three...)
	known := map[string]uint64{"n1": 1, "n2": 1, "n3": 1}
	c.change = func(config *raftstore.Config) { config.Rules = known[config.Node] }
	c.startAll()

	var mu sync.RWMutex // held for writing while nodes change
	var acknowledged sync.Map
	var count atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for n := range 3 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				e := events(1, "load")
				e[0].ID = uuid.New()
				mu.RLock()
				s := c.nodes[three[(n+i)%3]]
				mu.RUnlock()
				if s == nil {
					continue
				}
				if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(n), Events: e}); err == nil {
					acknowledged.Store(e[0].ID, true)
					count.Add(1)
				}
			}
		})
	}
	for i, name := range three {
		mu.Lock()
		s := c.nodes[name]
		delete(c.nodes, name)
		mu.Unlock()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := c.rules(); strings.Contains(got, "=2") {
			t.Errorf("after %d upgrades the rules are %s", i, got)
		}
		if got := c.formats(); strings.Contains(got, "=newest") {
			t.Errorf("after %d upgrades nodes of the earlier version would refuse stores: %s", i, got)
		}
		known[name] = 2
		s, err := raftstore.Open(c.config(name))
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		c.nodes[name] = s
		mu.Unlock()
		c.ready(s)
		before := count.Load()
		c.until("appends to go on", func() bool { return count.Load() > before+10 })
	}
	c.until("the next rules", func() bool { return c.rules() == "n1=2 n2=2 n3=2 " })
	c.until("the newest format", func() bool { return c.formats() == "n1=newest n2=newest n3=newest " })
	before := count.Load()
	c.until("appends under the next rules", func() bool { return count.Load() > before+10 })
	close(stop)
	clients.Wait()
	there := map[uuid.UUID]int{}
	for _, e := range c.equal() {
		there[e.ID]++
	}
	acknowledged.Range(func(id, _ any) bool {
		if n := there[id.(uuid.UUID)]; n != 1 {
			t.Errorf("an event that was acknowledged is there %d times", n)
		}
		return true
	})

	c.stop("n3")
	known["n3"] = 1
	c.openFails("n3", raftstore.ErrTooOld)
	known["n4"] = 1
	c.start("n4")
	var err error
	c.until("n4 to be refused", func() bool {
		err = c.nodes["n1"].Add(ctx, "n4", "address of n4")
		return errors.Is(err, raftstore.ErrMembers)
	})
	if !strings.Contains(err.Error(), "the version of rollcall on node n4 is too old: the cluster has version 2 of its rules, the node knows version 1") {
		t.Errorf("adding a node of the earlier version gave: %v", err)
	}
	c.stop("n4")
	known["n3"] = 3
	c.ready(c.start("n3"))
	c.equal()
	if got := c.rules(); got != "n1=2 n2=2 n3=2 " {
		t.Errorf("one node knows version 3, and the rules are %s", got)
	}
	if got := c.formats(); got != "n1=newest n2=newest n3=newest " {
		t.Errorf("after a restart the formats are %s", got)
	}
}

// A node of an earlier version cannot copy a store of the newest format, so that no cluster begins with both.
func TestNoClusterIsFoundedWithANodeThatCannotReadItsEvents(t *testing.T) {
	c := newCluster(t, three...)
	known := map[string]uint64{"n1": 2, "n2": 1, "n3": 2}
	c.change = func(config *raftstore.Config) { config.Rules = known[config.Node] }
	c.disks["n1"] = vfs.NewMem()
	alone, err := pebblestore.Open("data/events", pebblestore.Options{FS: c.disks["n1"]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")}); err != nil {
		t.Fatal(err)
	}
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	c.start("n2")
	c.start("n3")
	s := c.start("n1")
	c.until("n1 to stop", func() bool {
		err := s.Err()
		return err != nil && strings.Contains(err.Error(), "a founder runs a version of rollcall that cannot read this node's events")
	})
	c.stop("n2")
	known["n2"] = 2
	c.start("n2")
	c.stop("n1")
	c.ready(c.start("n1"))
	if all := c.equal(); len(all) != 1 {
		t.Errorf("there are %d events", len(all))
	}
}

// A node that meets the entry of a later version stops, whatever it has told before.
func TestANodeThatMeetsLaterRulesStops(t *testing.T) {
	c := newCluster(t, three...)
	known := map[string]uint64{"n1": 2, "n2": 2, "n3": 1}
	c.change = func(config *raftstore.Config) { config.Rules = known[config.Node] }
	c.startAll()
	if got := c.rules(); got != "n1=1 n2=1 n3=1 " {
		t.Errorf("a cluster with a node of version 1 was founded with the rules %s", got)
	}
	c.stop("n3")
	c.until("n3 to be removed", func() bool { return c.nodes[c.leader()].Remove(ctx, "n3") == nil })
	c.until("the next rules", func() bool { return c.rules() == "n1=2 n2=2 " })
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	c.stop("n2")
	known["n2"] = 1
	c.openFails("n2", raftstore.ErrTooOld)
}
