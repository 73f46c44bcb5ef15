package raftstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func TestMembersAreAddedAndRemovedUnderLoad(t *testing.T) {
	c := newCluster(t, three...)
	c.startAll()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	load, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	acked := 0
	at := c.nodes["n2"]
	group.Go(func() {
		for load.Err() == nil {
			if results, err := at.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(1), Events: events(1, "x")}); err == nil && results[0].Err == nil {
				acked++
			}
		}
	})
	do := func(what string, change func() error) {
		t.Helper()
		c.until(what, func() bool {
			err := change()
			if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatalf("%s: %v", what, err)
			}
			return err == nil
		})
	}
	n4 := c.start("n4")
	do("add n4", func() error { return at.Add(within, "n4", "address of n4") })
	c.ready(n4)
	if err := at.Add(within, "n4", "address of n5"); !errors.Is(err, raftstore.ErrMembers) {
		t.Errorf("a second n4 gave %v", err)
	}
	do("transfer to n1", func() error { return n4.Transfer(within, "n1") })
	c.until("n1 to be removed", func() bool {
		_ = n4.Remove(within, "n1") // the leader may be lost meanwhile, and n1 removed
		return len(n4.Status().Members) == 3
	})
	n1 := c.nodes["n1"]
	c.until("n1 to know that it is removed", func() bool { return errors.Is(n1.Err(), raftstore.ErrRemoved) })
	c.stop("n1")
	c.openFails("n1", raftstore.ErrRemoved)
	c.until("n2 to know that n1 is removed", func() bool { return len(at.Status().Members) == 3 }) // else it waits for this removal
	if err := at.Remove(within, "n1"); !errors.Is(err, raftstore.ErrMembers) {
		t.Errorf("a second removal gave %v", err)
	}
	if err := c.disks["n1"].RemoveAll("data"); err != nil {
		t.Fatal(err)
	}
	delete(c.members, "n1") // so that it joins
	n1 = c.start("n1")
	do("add n1 again", func() error { return at.Add(within, "n1", "address of n1") })
	c.ready(n1)
	stop()
	group.Wait()
	if all := c.equal(); len(all) < acked || acked == 0 {
		t.Errorf("%d events were acknowledged, and %d are there", acked, len(all))
	}
	if members := at.Status().Members; len(members) != 4 || !members[0].Voter || !members[3].Voter {
		t.Errorf("the members are %+v", members)
	}
}

func TestAClusterGrowsFromOneNode(t *testing.T) {
	c := newCluster(t, "n1")
	c.startAll()
	c.append("n1", eventstore.AppendRequest{Stream: stream(1), Events: events(2, "x")})
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, name := range []string{"n2", "n3"} {
		s := c.start(name)
		c.until("add "+name, func() bool {
			err := c.nodes["n1"].Add(within, name, "address of "+name)
			if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
		c.ready(s)
	}
	c.stop("n1")
	c.append("n2", eventstore.AppendRequest{Stream: stream(1), Expected: eventstore.Exactly(1), Events: events(1, "y")})
	if all := c.equal(); len(all) != 3 {
		t.Errorf("there are %d events", len(all))
	}
}
