package esdbstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore"
	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// simulated is a cluster of three nodes and a store over it, on a network in memory, where no time passes but
// what is waited for.
type simulated struct {
	t       *testing.T
	cluster *esdbtest.Cluster
	store   *esdbstore.Store
}

func simulate(t *testing.T, election esdbtest.Election, test func(*testing.T, *simulated)) {
	synctest.Test(t, func(t *testing.T) {
		network := esdbtest.NewMemory()
		c, err := esdbtest.StartCluster(network, 3, election)
		if err != nil {
			t.Fatal(err)
		}
		s, err := esdbstore.Open(c.ConnectionString(), esdbstore.Options{Dial: network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, &simulated{t, c, s})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		c.Stop()
	})
}

// writer appends one event after the other to a stream of its own and notes when each was acknowledged.
type writer struct {
	stream eventstore.StreamName
	acked  []time.Time
	err    error
}

func (s *simulated) write(stop <-chan struct{}, w *writer) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(40 * time.Millisecond):
		}
		results, err := s.store.Append(s.t.Context(), nil, eventstore.AppendRequest{
			Stream: w.stream, Expected: eventstore.Unchanged(uint64(len(w.acked))), Events: []eventstore.EventData{event()},
		})
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			w.err = err
			return
		}
		w.acked = append(w.acked, time.Now())
	}
}

// follow reads a subscription until it is closed, and says how many events of each stream came, in order.
func (s *simulated) follow(sub eventstore.Subscription, seen map[eventstore.StreamName]int) {
	for {
		events, _, err := sub.Next(s.t.Context())
		if err != nil {
			return
		}
		for _, e := range events {
			if int(e.Revision) != seen[e.Stream] {
				s.t.Errorf("the subscription gives revision %d of %s, want %d", e.Revision, e.Stream, seen[e.Stream])
			}
			seen[e.Stream]++
		}
	}
}

// outage has writers write and a subscriber follow while something befalls the cluster, and for a while after it
// has a new leader. It returns how long after the new leader the last writer was acknowledged an append.
func (s *simulated) outage(befalls func()) (after time.Duration) {
	s.t.Helper()
	stop := make(chan struct{})
	var group, reader sync.WaitGroup
	writers := make([]writer, 4)
	for i := range writers {
		writers[i].stream = stream(fmt.Sprint("w", i))
		group.Go(func() { s.write(stop, &writers[i]) })
	}
	sub, err := s.store.Subscribe(s.t.Context(), eventstore.SubscribeOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	seen := map[eventstore.StreamName]int{}
	reader.Go(func() { s.follow(sub, seen) })
	time.Sleep(500 * time.Millisecond)
	began := time.Now()
	befalls()
	leader, led := s.cluster.Leader()
	for ; leader == nil || led.Before(began); leader, led = s.cluster.Leader() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	close(stop)
	group.Wait()
	time.Sleep(time.Second) // the subscription gets what is left
	_ = sub.Close()
	reader.Wait()
	for i := range writers {
		after = max(after, s.check(&writers[i], led, seen[writers[i].stream]))
	}
	s.t.Logf("a new leader after %s, writes %s later", led.Sub(began).Round(time.Millisecond), after.Round(time.Millisecond))
	return after
}

// check holds a writer's stream against what it was told, and returns how long after the new leader it was
// acknowledged an append first.
func (s *simulated) check(w *writer, led time.Time, seen int) (after time.Duration) {
	s.t.Helper()
	if w.err != nil {
		s.t.Errorf("%s: %v", w.stream, w.err)
	}
	count := 0
	for e, err := range s.store.ReadStream(s.t.Context(), w.stream, eventstore.ReadOptions{}) {
		if err != nil || int(e.Revision) != count {
			s.t.Fatalf("%s: revision %d, %v, want %d", w.stream, e.Revision, err, count)
		}
		count++
	}
	if count != len(w.acked) || seen != count {
		s.t.Errorf("%s has %d events, %d were acknowledged, %d came to the subscription", w.stream, count, len(w.acked), seen)
	}
	for _, at := range w.acked {
		if at.After(led) {
			return at.Sub(led)
		}
	}
	s.t.Errorf("%s: no append was acknowledged after the new leader", w.stream)
	return 0
}

// Each row of the table of fail-overs in docs/reliability.md: whatever befalls the leader, every writer's next
// append is acknowledged within a second of the new leader, none is lost and none stands twice.
func TestWritesComeBackWithinASecondOfTheNewLeader(t *testing.T) {
	for _, row := range []struct {
		name    string
		befalls func(*esdbtest.Cluster)
	}{
		{"the leader is killed", func(c *esdbtest.Cluster) { c.Nodes[0].Stop() }},
		{"the leader freezes", func(c *esdbtest.Cluster) { c.Nodes[0].Freeze() }},
		{"the leader freezes and goes on before it is deposed, or after", func(c *esdbtest.Cluster) {
			c.Nodes[0].Freeze()
			time.AfterFunc(8*time.Second, c.Nodes[0].Thaw)
		}},
		{"the leader is cut off from the others", func(c *esdbtest.Cluster) { c.Nodes[0].CutOff() }},
		{"the leader hands over", func(c *esdbtest.Cluster) { c.Lead(c.Nodes[2]) }},
		{"the leader resigns", func(c *esdbtest.Cluster) { c.Elect(c.Nodes[1]) }},
		{"two nodes die, one comes back", func(c *esdbtest.Cluster) {
			c.Nodes[0].Stop()
			c.Nodes[1].Stop()
			time.AfterFunc(4*time.Second, func() { _ = c.Nodes[1].Restart() })
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, pace := range []float64{1, 0.83, 1.31} { // so that no step falls together with a look
				simulate(t, esdbtest.Measured.Scaled(pace), func(t *testing.T, s *simulated) {
					if after := s.outage(func() { row.befalls(s.cluster) }); after > time.Second {
						t.Errorf("at pace %g writes came back %s after the new leader", pace, after)
					}
				})
			}
		})
	}
}

// What befalls a follower is not noticed.
func TestFollowersMayGo(t *testing.T) {
	for name, befalls := range map[string]func(*esdbtest.Server){"killed": (*esdbtest.Server).Stop, "frozen": (*esdbtest.Server).Freeze} {
		t.Run(name, func(t *testing.T) {
			simulate(t, esdbtest.Measured, func(t *testing.T, s *simulated) {
				befalls(s.cluster.Nodes[2])
				for i := range 50 {
					began := time.Now()
					if _, err := s.store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: stream("a"), Expected: eventstore.Unchanged(uint64(i)), Events: []eventstore.EventData{event()}}); err != nil {
						t.Fatal(err)
					}
					if took := time.Since(began); took > 10*time.Millisecond {
						t.Errorf("append %d took %s", i, took)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		})
	}
}

// Followers that are far behind change nothing: what is read is the leader's.
func TestReadsAreTheLeaders(t *testing.T) {
	simulate(t, esdbtest.Measured, func(t *testing.T, s *simulated) {
		for _, n := range s.cluster.Nodes {
			n.Lag(time.Hour)
		}
		results, err := s.store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if head, err := s.store.Head(t.Context()); err != nil || head != results[0].Position {
				t.Errorf("head is %d, %v, want %d", head, err, results[0].Position)
			}
			leader, _ := s.cluster.Leader()
			leader.Stop()
			time.AfterFunc(3*time.Second, func() { _ = leader.Restart() })
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
	})
}

// Without a majority there is no leader: calls wait for LeaderWait, later ones are refused at once,
// and after the next leader all is well again.
func TestALongAbsenceIsAnErrorAtOnce(t *testing.T) {
	simulate(t, esdbtest.Measured, func(t *testing.T, s *simulated) {
		s.cluster.Nodes[0].Stop()
		s.cluster.Nodes[1].Freeze()
		request := func() (time.Duration, error) {
			began := time.Now()
			_, err := s.store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}})
			return time.Since(began), err
		}
		if took, err := request(); !errors.Is(err, eventstore.ErrUnavailable) || took < 10*time.Second || took > 15*time.Second {
			t.Errorf("the first append gave %v after %s", err, took)
		}
		if took, err := request(); !errors.Is(err, eventstore.ErrUnavailable) || took > time.Millisecond {
			t.Errorf("a later one gave %v after %s", err, took)
		}
		time.Sleep(time.Minute)
		s.cluster.Nodes[1].Thaw()
		for leader, _ := s.cluster.Leader(); leader == nil; leader, _ = s.cluster.Leader() {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if _, err := request(); err != nil {
			t.Error(err)
		}
	})
}

// A node that is new to the client, whose seeds are all gone, was learnt of by gossip.
func TestNodesAreLearntByGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := esdbtest.NewMemory()
		c, err := esdbtest.StartCluster(network, 3, esdbtest.Measured)
		if err != nil {
			t.Fatal(err)
		}
		s, err := esdbstore.Open("esdb+discover://"+c.Nodes[0].Address()+"?tls=false", esdbstore.Options{Dial: network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c.Nodes[0].Stop()
		if _, err := s.Append(t.Context(), nil, eventstore.AppendRequest{Stream: stream("a"), Events: []eventstore.EventData{event()}}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		c.Stop()
	})
}
