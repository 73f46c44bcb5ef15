package raftstore_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// tick is that of the clusters of tests. A node that hears nothing of its leader waits for ten ticks at least.
const tick = 20 * time.Millisecond

// leaderless is the time, in a synctest bubble, from something that happens to the leader until another node leads.
func leaderless(t *testing.T, happens func(c *cluster, leader string)) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, three...)
		c.startAll()
		c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
		leader := c.leader()
		began := time.Now()
		happens(c, leader)
		c.until("another node to lead", func() bool {
			for name, s := range c.nodes {
				if _, leads := s.Leads(); leads && name != leader {
					return true
				}
			}
			return false
		})
		took = time.Since(began)
		c.fabric.Heal()
		c.append(c.leader(), eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
		c.equal()
	})
	return took
}

// The end of a process shows at once, because nobody listens where it listened.
func TestTheOthersDoNotWaitForALeaderWhoseProcessHasEnded(t *testing.T) {
	if took := leaderless(t, func(c *cluster, leader string) { c.stop(leader) }); took >= 10*tick {
		t.Errorf("another node leads after %s", took)
	}
}

// A leader that is silent may only be slow. It keeps the lead for as long as it may take to be heard.
func TestALeaderThatIsSilentHasTimeToBeHeard(t *testing.T) {
	isolate := func(c *cluster, leader string) {
		for _, other := range three {
			c.fabric.Isolate(leader, other)
		}
	}
	if took := leaderless(t, isolate); took < 8*tick || took > 100*tick {
		t.Errorf("another node leads after %s", took)
	}
}

// Nobody is asked for votes because of a connection that breaks while its node is there.
func TestABrokenConnectionIsNoReasonForAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, three...)
		c.startAll()
		term := c.nodes["n1"].Status().Term
		leader := c.leader()
		for range 5 {
			for _, other := range three {
				c.fabric.Worsen(other, leader, 0, 1)
				c.fabric.Worsen(leader, other, 0, 1)
			}
			time.Sleep(3 * tick) // the next heartbeat of the leader breaks its connections
			c.fabric.Heal()
			c.append(leader, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
			time.Sleep(5 * tick)
		}
		if now := c.nodes["n1"].Status(); now.Term != term || now.Leader != leader {
			t.Errorf("%s leads in term %d, and %s led in term %d", now.Leader, now.Term, leader, term)
		}
	})
}

// A node whose disk is nearly full takes no appends, and gives up the lead. The others take appends.
func TestALeaderWhoseDiskIsFullGivesUpTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, three...)
		c.change = func(config *raftstore.Config) { config.Store.MinFree = 1 << 20 }
		disks := map[string]*disk{}
		for _, name := range three {
			disks[name] = &disk{}
			c.disks[name] = &sized{vfs.NewMem(), disks[name]}
		}
		c.startAll()
		leader := c.leader()
		c.append(leader, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
		disks[leader].full.Store(true)
		s := c.nodes[leader]
		c.until("appends to be refused", func() bool {
			_, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
			return errors.Is(err, eventstore.ErrDiskFull)
		})
		c.until("another node to lead", func() bool { _, leads := s.Leads(); return !leads && c.leader() != leader })
		c.append(c.leader(), eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
		disks[leader].full.Store(false)
		c.until("appends to be taken again", func() bool {
			_, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "z")})
			return err == nil
		})
		c.equal()
	})
}
