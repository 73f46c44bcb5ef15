package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
)

// crash ends a node as a loss of power does: what was not synced may be gone.
func (c *campaign) crash(name string) {
	in := c.at(name)
	c.mu.Lock()
	c.running[name] = nil
	c.mu.Unlock()
	in.ended.Store(true)
	c.fabric.Unplug(name, true) // nothing that comes after the loss gets out
	c.mount(name, c.memory[name].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng}))
	_ = in.store.Close() // it complains of what is cut off
	delete(c.nodes, name)
	c.fabric.Unplug(name, false)
}

// restart starts a node that has ended.
func (c *campaign) restart(name string) {
	s := c.start(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[name] = &incarnation{store: s}
}

// loseStore has a node that has ended find its store gone.
func (c *campaign) loseStore(name string) {
	if err := c.disks[name].RemoveAll("data/events"); err != nil {
		c.t.Fatal(err)
	}
}

// replace has a node that has ended lose its whole disk: the cluster removes it, and adds it again with an empty one.
func (c *campaign) replace(name, by string) {
	c.mount(name, vfs.NewCrashableMem())
	delete(c.members, name) // so that it joins
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	other := c.nodes[by]
	c.until(name+" to be removed", func() bool {
		err := other.Remove(within, name)
		return err == nil || errors.Is(err, raftstore.ErrMembers) // it was removed by an attempt whose outcome was not known
	})
	c.rules[name] = slices.Max(slices.Collect(maps.Values(c.rules))) // the others may have begun later rules without it
	s := c.start(name)
	c.until(name+" to be added", func() bool { return other.Add(within, name, "address of "+name) == nil })
	c.ready(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[name] = &incarnation{store: s}
}

// cutLog ends a node and removes the end of its log, and more of it than the store can do without.
func (c *campaign) cutLog(name string) {
	in := c.at(name)
	c.until(name+"'s store to have something of its log", func() bool { // one that was just copied has nothing of it
		status := in.store.Status()
		return status.Applied >= status.LogFirst
	})
	c.mu.Lock()
	c.running[name] = nil
	c.mu.Unlock()
	in.ended.Store(true)
	c.stop(name)
	if err := raftstore.ShortenLog(c.disks[name], 0, false); err != nil {
		c.t.Fatal(err)
	}
	c.openFails(name, raftstore.ErrLogDamaged)
}

// upgrade has a node lose its power, and start again with the next version of the rules. No version counts before all nodes know
// it; the next one begins at some time after the last node has it, whatever happens to the nodes then.
func (c *campaign) upgrade() string {
	least := slices.Min(slices.Collect(maps.Values(c.rules)))
	for name, s := range c.nodes {
		if counts := s.Status().Rules; counts > least {
			c.t.Errorf("version %d of the rules counts at %s, but the nodes know %v", counts, name, c.rules)
		}
	}
	name := c.names[0]
	for _, other := range c.names {
		if c.rules[other] < c.rules[name] {
			name = other
		}
	}
	c.crash(name)
	c.rules[name]++
	c.restart(name)
	return fmt.Sprintf("%s was upgraded to version %d of the rules", name, c.rules[name])
}

// fault makes something go wrong, and right again.
func (c *campaign) fault() string {
	pick := func() string { return c.names[c.rng.IntN(len(c.names))] }
	wait := func() { time.Sleep(time.Duration(50+c.rng.IntN(700)) * time.Millisecond) }
	others := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(c.names), func(n string) bool { return n == name })
	}
	defer c.fabric.Heal()
	name := pick()
	switch c.rng.IntN(16) {
	case 14, 15:
		return c.upgrade()
	case 9:
		if !c.real {
			return c.full(name)
		}
		end := c.stalls[name].begin()
		wait()
		end()
		return "a stuck disk of " + name
	case 0:
		c.fabric.Isolate(name, others(name)...)
		wait()
		return "isolated " + name
	case 1:
		for _, other := range others(name) {
			c.fabric.Cut(name, other)
		}
		wait()
		return "nobody hears " + name
	case 2:
		for _, other := range others(name) {
			c.fabric.Cut(other, name)
		}
		wait()
		return name + " hears nobody"
	case 3:
		other := others(name)[c.rng.IntN(len(c.names)-1)]
		c.fabric.Isolate(name, other)
		wait()
		return "cut " + name + " from " + other
	case 4:
		for _, from := range c.names {
			for _, to := range others(from) {
				c.fabric.Worsen(from, to, time.Duration(c.rng.IntN(20))*time.Millisecond, 0.05*c.rng.Float64())
			}
		}
		wait()
		return "slow and lossy links"
	case 5:
		c.crash(name)
		wait()
		c.restart(name)
		return "power loss of " + name
	case 6:
		for _, n := range c.names {
			c.crash(n)
		}
		for _, n := range c.names {
			c.restart(n)
		}
		return "power loss of all"
	case 7:
		c.crash(name)
		c.loseStore(name)
		wait()
		c.restart(name)
		return "lost the store of " + name
	case 10:
		return c.full(name)
	case 11:
		c.crash(name)
		wait()
		c.replace(name, others(name)[0])
		return "replaced " + name
	case 12:
		c.cutLog(name)
		c.replace(name, others(name)[1])
		return "truncated the log of " + name + " and replaced it"
	case 13:
		before := c.nodes[name].Status().Applied
		c.fabric.Isolate(name, others(name)...)
		c.until("the log to be cut", func() bool {
			return c.nodes[others(name)[0]].Status().LogFirst > before+1 && c.nodes[others(name)[1]].Status().LogFirst > before+1
		})
		return name + " was away for longer than the log keeps"
	}
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = c.at(name).store.Transfer(within, pick()) // it may have no leader to ask
	return "transfer"
}

// full has the disk of a node be nearly full for a while.
func (c *campaign) full(name string) string {
	c.space[name].full.Store(true)
	time.Sleep(time.Duration(1000+c.rng.IntN(2000)) * time.Millisecond)
	c.space[name].full.Store(false)
	return "a full disk of " + name
}
