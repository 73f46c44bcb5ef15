package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

var three = []string{"n1", "n2", "n3"}

func stream(i int) eventstore.StreamName {
	return eventstore.LifecycleStream(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint(i)})
}

func heartbeats(i int) eventstore.StreamName {
	return eventstore.HeartbeatStream(domain.Key{Namespace: "default", Service: "checkout", ID: fmt.Sprint(i)})
}

// append appends an event at a node, again while there is no leader.
func (c *cluster) append(name string, r eventstore.AppendRequest) (result eventstore.AppendResult) {
	c.t.Helper()
	c.until("an append at "+name, func() bool {
		results, err := c.nodes[name].Append(ctx, nil, r)
		if err != nil {
			if !errors.Is(err, eventstore.ErrUnavailable) {
				c.t.Fatalf("append at %s: %v", name, err)
			}
			return false
		}
		result = results[0]
		return true
	})
	return result
}

// fill appends events of a number of bytes.
func (c *cluster) fill(name string, bytes int) {
	c.t.Helper()
	for n := 0; n < bytes; n += 4096 {
		c.append(name, eventstore.AppendRequest{Stream: stream(n % 7), Events: events(1, strings.Repeat("x", 4096))})
	}
}

// equal waits until nodes have the same events, and gives them.
func (c *cluster) equal() (all []eventstore.RecordedEvent) {
	c.t.Helper()
	head := eventstore.Position(0)
	for _, s := range c.nodes {
		c.until("the head", func() bool {
			h, err := s.Head(ctx)
			head = max(head, h)
			return err == nil
		})
	}
	for name, s := range c.nodes { // nothing is appended meanwhile
		c.until("the events at "+name, func() bool { return s.Durable() >= head })
		got := readAll(c.t, s)
		if all != nil && !reflect.DeepEqual(all, got) {
			c.t.Fatalf("%s has other events: %s", name, difference(all, got))
		}
		all = got
	}
	return all
}

func TestAnEmptyOrLateNodeReceivesTheStoreAndSubscriptionsGoOn(t *testing.T) {
	c := newCluster(t, three...)
	c.change = func(config *raftstore.Config) { config.LogBytes = 16 << 10 }
	c.startAll()
	c.append("n3", eventstore.AppendRequest{Stream: stream(1), Events: events(3, "before")})
	sub, err := c.nodes["n3"].Subscribe(ctx, eventstore.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	before := c.nodes["n3"].Status().Received
	for _, other := range []string{"n1", "n2"} { // connections break, so that nothing waits in them
		c.fabric.Worsen("n3", other, 0, 1)
		c.fabric.Worsen(other, "n3", 0, 1)
	}
	c.until("n3 to be without a leader", func() bool { return c.nodes["n3"].Status().Leader == "" })
	c.fill("n1", 200<<10)
	c.until("the log to be cut", func() bool { return c.nodes["n1"].Status().LogFirst > c.nodes["n3"].Status().Applied+1 })
	c.until("the log to be cut", func() bool { return c.nodes["n2"].Status().LogFirst > c.nodes["n3"].Status().Applied+1 })
	c.fabric.Heal()
	c.append("n3", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "after")})
	want := c.equal()
	c.until("n3 to have received a checkpoint", func() bool { return c.nodes["n3"].Status().Received > before })
	var got []eventstore.RecordedEvent
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for len(got) < len(want) {
		more, _, err := sub.Next(within)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(got), len(want), err)
		}
		got = append(got, more...)
	}
	for i := range got {
		got[i].StreamNumber = want[i].StreamNumber
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the subscription gave other events: %s", difference(want, got))
	}
}

func TestWithoutAQuorumAppendsAreRefusedAtOnceAndReadsGoOn(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	c.equal()
	c.stop("n2")
	c.stop("n3")
	s := c.nodes["n1"]
	c.until("the node to know that it has no leader", func() bool { return errors.Is(s.Err(), eventstore.ErrNoLeader) })
	_, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "refused")})
	if !errors.Is(err, eventstore.ErrNoLeader) || !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("an append gave %v", err)
	}
	if _, err := s.Head(ctx); !errors.Is(err, eventstore.ErrNoLeader) {
		t.Errorf("Head gave %v", err)
	}
	if _, ok := s.Leads(); ok {
		t.Error("the node leads alone")
	}
	if all := readAll(t, s); len(all) != 1 {
		t.Errorf("%d events are readable", len(all))
	}
	c.start("n2")
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Expected: eventstore.Exactly(0), Events: events(1, "y")})
	if all := c.equal(); len(all) != 2 {
		t.Errorf("there are %d events", len(all))
	}
}

// openFails opens a node that must stop with an error.
func (c *cluster) openFails(name string, want error) {
	c.t.Helper()
	s, err := raftstore.Open(c.config(name))
	if err == nil {
		defer func() { _ = s.Close() }()
		c.until("the node to stop", func() bool { return errors.Is(s.Err(), want) })
		return
	}
	if !errors.Is(err, want) {
		c.t.Errorf("%s gave %v, want %v", name, err, want)
	}
}

func TestANodeThatHasLostItsLogIsRefused(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	c.equal()
	c.stop("n3")
	if err := c.disks["n3"].RemoveAll("data/raft"); err != nil {
		t.Fatal(err)
	}
	c.openFails("n3", raftstore.ErrLogLost)
	if err := c.disks["n3"].RemoveAll("data"); err != nil { // with the store
		t.Fatal(err)
	}
	c.openFails("n3", raftstore.ErrLogLost)
	c.append("n2", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
}

func TestALogThatEndsBeforeTheStoreIsRefused(t *testing.T) {
	c := withoutN3(t)
	if err := raftstore.ShortenLog(c.disks["n3"], 9, false); err != nil {
		t.Fatal(err)
	}
	c.openFails("n3", raftstore.ErrLogDamaged)
}

func TestANodeWhoseStoreIsLostCopiesItFromAnother(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(3, "x")})
	c.equal()
	for _, name := range three {
		c.stop(name)
		if err := c.disks[name].RemoveAll("data/events"); err != nil {
			t.Fatal(err)
		}
		c.ready(c.start(name))
		c.append(name, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
	}
	if all := c.equal(); len(all) != 6 {
		t.Errorf("there are %d events", len(all))
	}
}

// withoutN3 is a cluster whose nodes have 20 entries each, and of which n3 has ended.
func withoutN3(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, three...)
	c.startAll()
	for range 20 {
		c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	}
	c.equal()
	c.stop("n3")
	return c
}

// A node whose disk fails stops. The others go on, and what was answered is there.
func TestAFailedSyncOfTheLogStopsTheNode(t *testing.T) {
	var broken atomic.Bool
	c := newCluster(t, three...)
	c.disks["n3"] = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasPrefix(op.Path, "data/raft/log") && strings.HasSuffix(op.Path, ".log") &&
			(op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return errors.New("the disk is gone")
		}
		return nil
	}))
	c.startAll()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c.until("n3 to lead", func() bool {
		_ = c.nodes["n1"].Transfer(within, "n3")
		_, ok := c.nodes["n3"].Leads()
		return ok
	})
	c.append("n3", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	broken.Store(true)
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
	s := c.nodes["n3"]
	c.until("n3 to stop", func() bool { return errors.Is(s.Err(), eventstore.ErrReadOnly) })
	if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "z")}); !errors.Is(err, eventstore.ErrReadOnly) {
		t.Errorf("an append gave %v", err)
	}
	if all := readAll(t, s); len(all) == 0 {
		t.Error("the node that stopped has no readable events")
	}
	delete(c.nodes, "n3")
	_ = s.Close() // it complains of the disk
	c.equal()
}

// A disk that is full to the last byte stops the node, which can still be read and closed. The others go on, and nothing that was
// acknowledged is lost.
func TestANodeWhoseDiskIsFullStops(t *testing.T) {
	for _, folder := range []string{"data/raft/log", "data/events"} {
		t.Run(folder, func(t *testing.T) {
			var full atomic.Bool
			c := newCluster(t, three...)
			c.disks["n3"] = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt) && strings.HasPrefix(op.Path, folder) && strings.HasSuffix(op.Path, ".log") {
					return syscall.ENOSPC
				}
				return nil
			}))
			c.startAll()
			c.append("n3", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
			full.Store(true)
			s := c.nodes["n3"]
			c.until("n3 to stop", func() bool {
				c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
				return errors.Is(s.Err(), eventstore.ErrReadOnly)
			})
			if all := readAll(t, s); len(all) == 0 {
				t.Error("the node that stopped has no readable events")
			}
			delete(c.nodes, "n3")
			_ = s.Close() // it complains of the disk
			c.equal()
		})
	}
}

// A leader whose disk takes no writes would go on to lead, because its heartbeats need no disk.
func TestALeaderWhoseDiskIsStuckGivesUpTheLead(t *testing.T) {
	c := newCluster(t, three...)
	stalls := map[string]*stall{}
	for _, name := range three {
		stalls[name] = &stall{}
		c.disks[name] = errorfs.Wrap(vfs.NewMem(), stalls[name])
	}
	c.startAll()
	leader := c.leader()
	c.append(leader, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")})
	at := c.follower()
	release := stalls[leader].begin()
	defer release()
	c.until("another node to lead", func() bool {
		within, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = c.nodes[at].Append(within, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "y")})
		led := c.nodes[at].Status().Leader
		return led != leader && led != ""
	})
	c.append(at, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "z")})
	release()
	c.equal()
}

func TestARequestOfAnotherTermIsRefused(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	term, _ := c.nodes[c.leader()].Leads()
	at := c.follower()
	for _, of := range []uint64{term - 1, term, term + 1} {
		results, err := c.nodes[at].Append(ctx, nil,
			eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x"), Term: of}, eventstore.AppendRequest{Stream: stream(2), Events: events(1, "x")})
		if err != nil {
			t.Fatal(err)
		}
		if now := c.nodes[at].Status().Term; now != term {
			t.Skip("an election came between")
		}
		if errors.Is(results[0].Err, eventstore.ErrOtherTerm) != (of != term) || results[1].Err != nil {
			t.Errorf("a request of term %d in term %d gave %+v", of, term, results)
		}
	}
}

func TestOldHeartbeatsAreRemovedOnAllNodes(t *testing.T) {
	now := atomic.Int64{}
	now.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	c := newCluster(t, three...)
	c.change = func(config *raftstore.Config) {
		config.Store.Now = func() time.Time { return time.Unix(0, now.Load()) }
	}
	c.startAll()
	beat := eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"schema":1}`)}
	for range 5 {
		c.append("n2", eventstore.AppendRequest{Stream: heartbeats(1), Events: []eventstore.EventData{beat}})
		now.Add(int64(10 * time.Second))
	}
	left := len(c.equal())
	if left != 5 {
		t.Fatalf("there are %d heartbeats", left)
	}
	c.until("old heartbeats to be removed", func() bool {
		for _, s := range c.nodes {
			if err := s.Trim(25 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		left = 0
		for _, s := range c.nodes {
			left = max(left, len(readAll(t, s)))
		}
		return left <= 3
	})
	if all := c.equal(); len(all) == 0 {
		t.Error("all heartbeats were removed")
	}
}

func TestASingleNodesHistoryBecomesThatOfAClusterAndBack(t *testing.T) {
	c := newCluster(t, three...)
	disk := vfs.NewMem()
	c.disks["n2"] = disk
	alone, err := pebblestore.Open("data/events", pebblestore.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(4, "x")}); err != nil {
		t.Fatal(err)
	}
	id := alone.ID()
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	c.startAll()
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Expected: eventstore.Exactly(3), Events: events(1, "y")})
	c.equal()
	for name, s := range c.nodes {
		if s.ID() != id {
			t.Errorf("%s has the id %s, the single node had %s", name, s.ID(), id)
		}
	}
	c.stop("n3")
	if _, err := pebblestore.Open("data/events", pebblestore.Options{FS: c.disks["n3"]}); !errors.Is(err, pebblestore.ErrReplica) {
		t.Errorf("a store of a cluster that is opened alone gave %v", err)
	}
	alone, err = pebblestore.Open("data/events", pebblestore.Options{FS: c.disks["n3"], Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	if all := readAll(t, alone); len(all) != 5 {
		t.Errorf("it has %d events", len(all))
	}
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
}
