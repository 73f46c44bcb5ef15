package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Nodes are killed, all at once too, stopped for a while, and cut off from the others, in both directions or in one, and links are
// slow and break, while clients write and read at all nodes. At the end the stores of all nodes are equal event by event, every
// acknowledged registration is there once, what clients were told is linearizable, no instance that was kept alive was
// expired, and each lease that was not renewed ended once. ROLLCALL_CLUSTER_TORTURE says for how long.
func TestAClusterIsTortured(t *testing.T) {
	lasting := tortureLasts(t)
	c, between := newLinkedTrio(t)
	c.torture(between, lasting)
}

// tortureLasts is for how long a cluster is tortured.
func tortureLasts(t *testing.T) time.Duration {
	t.Helper()
	if os.Getenv("ROLLCALL_TORTURE") == "" {
		t.Skip("takes minutes: ROLLCALL_TORTURE=1 runs it")
	}
	if d, err := time.ParseDuration(os.Getenv("ROLLCALL_CLUSTER_TORTURE")); err == nil {
		return d
	}
	return 10 * time.Minute
}

// torture starts three nodes, has things happen to them while clients write and read, and judges.
func (c *trio) torture(between ways, lasting time.Duration) {
	t := c.t
	ids := []string{"n1", "n2", "n3"}
	for _, n := range c.nodes { // a new leader gives all leases their ttl anew, so those of the abandoned end at one time
		n.args = append(n.args, "--self-preservation=false")
	}
	c.start(ids...)
	f := &victims{trio: c, ids: ids}
	f.begin()
	rng := seeded(t)
	befell := map[string]int{}
	for deadline := time.Now().Add(lasting); time.Now().Before(deadline); {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		befell[befall(c, between, ids, rng)]++
	}
	f.end()
	t.Logf("what happened: %v", befell)
	f.judge()
}

// seeded gives random numbers, and tells their seed.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// befall has something happen to the nodes of a cluster, and gives them time to recover from it.
func befall(c *trio, between ways, ids []string, rng *rand.Rand) (what string) {
	wait := func(most int) { time.Sleep(time.Duration(rng.IntN(most)) * time.Millisecond) }
	victim, whom := ids[rng.IntN(len(ids))], "a node"
	if rng.IntN(2) == 0 {
		if reply, err := c.client(victim).Cluster(c.t.Context()); err == nil && reply.Value.Leader != "" {
			victim, whom = reply.Value.Leader, "the leader"
		}
	}
	switch rng.IntN(9) {
	case 0, 1:
		c.kill(victim)
		wait(2000)
		c.start(victim)
		return whom + " is killed"
	case 2:
		c.kill(ids...)
		c.start(ids...)
		return "all are killed"
	case 3:
		_ = c.nodes[victim].Process.Signal(syscall.SIGSTOP)
		wait(5000)
		_ = c.nodes[victim].Process.Signal(syscall.SIGCONT)
		return whom + " stands still"
	case 4:
		for range 10 {
			between.set(cuts["is cut off"](victim, ids))
			wait(400)
			between.set(nil)
			wait(400)
		}
		return whom + " is cut off again and again"
	case 5:
		between.set(slow(ids, rng))
		what = "links are slow, lose packets and break"
	default:
		shape := slices.Sorted(maps.Keys(cuts))[rng.IntN(len(cuts))]
		between.set(cuts[shape](victim, ids))
		what = whom + " " + shape
	}
	wait(6000)
	between.set(nil)
	return what
}

// victims are the clients of a cluster that is tortured.
type victims struct {
	*trio
	ids     []string
	asked   []string // by those whose histories are judged; nil: ids
	kept    []*client.Kept
	told    recorder
	writers sync.WaitGroup
	stop    chan struct{}

	mu           sync.Mutex
	acknowledged []string // ids of registrations
	abandoned    []string // ids of instances that nobody renews
}

// abandonedTTL is how long nobody hears of an instance that is abandoned before it is expired.
const abandonedTTL = 2 * time.Second

func (f *victims) begin() {
	t := f.t
	f.stop = make(chan struct{})
	asked := f.asked
	if asked == nil {
		asked = f.ids
	}
	f.told = recorder{began: time.Now(), stop: f.stop, urls: strings.Split(f.url(asked...), ",")}
	for i := range 20 {
		k, err := f.client(f.ids...).Keep(t.Context(), client.Registration{
			Key: domain.Key{Service: "kept", ID: fmt.Sprint(i)}, Details: domain.Details{Address: "10.0.0.2", TTL: domain.Duration(20 * time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.kept = append(f.kept, k)
	}
	for w := range 6 {
		own := f.client(append(slices.Clone(f.ids[w%3:]), f.ids[:w%3]...)...)
		f.writers.Go(func() { f.write(own, w) })
		f.writers.Go(func() { f.told.run(w, 12) })
	}
}

// write registers instances, each once, until the torture ends. Some are abandoned.
func (f *victims) write(own *client.Client, w int) {
	for n := 0; ; n++ {
		select {
		case <-f.stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		key, details := domain.Key{Service: "web", ID: fmt.Sprintf("w%d-%d", w, n)}, domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL}
		if n%20 == 0 {
			key.Service, details.TTL = "abandoned", domain.Duration(abandonedTTL)
		}
		if _, err := own.Register(f.t.Context(), key, details, client.CreateOnly()); err != nil {
			continue
		}
		f.mu.Lock()
		if n%20 == 0 {
			f.abandoned = append(f.abandoned, key.ID)
		} else {
			f.acknowledged = append(f.acknowledged, key.ID)
		}
		f.mu.Unlock()
	}
}

// end ends the clients, and waits until what is abandoned is expired.
func (f *victims) end() {
	close(f.stop)
	f.writers.Wait()
	f.until("what is abandoned is expired", func() error {
		reply, err := f.client(f.ids...).Instances(f.t.Context(), domain.ServiceKey{Service: "abandoned"}, client.InstancesQuery{})
		if err == nil && len(reply.Value.Instances) > 0 {
			err = fmt.Errorf("%d instances are there", len(reply.Value.Instances))
		}
		return err
	})
	for _, k := range f.kept {
		if s := k.State(); s.Phase != client.Registered || s.Epoch != 1 {
			f.t.Errorf("%+v", s)
		}
	}
}

// judge holds what the nodes have against what clients were told.
func (f *victims) judge() {
	t := f.t
	f.equal(f.ids...) // the roots, too
	f.told.judge(t)
	log, err := f.log(f.ids[0])
	if err != nil {
		t.Fatal(err)
	}
	events, expiries := map[string]int{}, map[string]int{}
	for line := range strings.Lines(log) {
		stream := strings.Fields(line)[1]
		events[stream]++
		if strings.Contains(line, " "+domain.TypeLeaseExpired+" ") {
			expiries[stream]++
			if strings.HasPrefix(stream, "instance-default/kept/") {
				t.Errorf("it was kept alive: %s", line)
			}
		}
	}
	for _, id := range f.acknowledged {
		if n := events["instance-default/web/"+id]; n != 1 {
			t.Errorf("%s was acknowledged and has %d events", id, n)
		}
	}
	for _, id := range f.abandoned {
		if n := expiries["instance-default/abandoned/"+id]; n != 1 {
			t.Errorf("%s was abandoned and expired %d times", id, n)
		}
	}
	t.Logf("%d registrations were acknowledged, %d of them abandoned; %d instances were kept; the log has %d audited events", len(f.acknowledged)+len(f.abandoned), len(f.abandoned), len(f.kept), strings.Count(log, "\n"))
	f.compareStores()
}

// compareStores ends the nodes and compares their stores event by event, heartbeats included. A node may have applied more than
// another one when it ended.
func (f *victims) compareStores() {
	t := f.t
	head, err := f.client(f.ids[0]).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range f.ids {
		if err := f.nodes[id].end(syscall.SIGTERM); err != nil {
			t.Errorf("%s ended with %v", id, err)
		}
	}
	var first []eventstore.RecordedEvent
	for _, id := range f.ids {
		s, err := pebblestore.Open(filepath.Join(f.nodes[id].data, "events"), pebblestore.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var all []eventstore.RecordedEvent
		for e, err := range s.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if first == nil {
			first = all
		}
		n := min(len(first), len(all))
		if !reflect.DeepEqual(first[:n], all[:n]) || n == 0 || first[n-1].Position < head.Value.Store.Position.Number {
			t.Errorf("the stores of %s and %s differ within %d events, or end before position %d", f.ids[0], id, n, head.Value.Store.Position.Number)
		}
	}
	t.Logf("%d events are equal on all nodes", len(first))
}
