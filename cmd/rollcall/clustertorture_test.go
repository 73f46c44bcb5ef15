package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// Nodes are killed, all at once too, stopped for a while, and cut off from the others, while clients register instances and
// keep them alive. At the end the logs of all nodes are equal event by event, every acknowledged registration is there once,
// and no instance that was kept alive was expired.
func TestAClusterIsTortured(t *testing.T) {
	if os.Getenv("ROLLCALL_TORTURE") == "" {
		t.Skip("takes minutes: ROLLCALL_TORTURE=1 runs it")
	}
	lasting := 10 * time.Minute
	if d, err := time.ParseDuration(os.Getenv("ROLLCALL_CLUSTER_TORTURE")); err == nil {
		lasting = d
	}
	c, walls := newWalledTrio(t)
	c.start("n1", "n2", "n3")
	ids := []string{"n1", "n2", "n3"}
	registry := c.client(ids...)
	var kept []*client.Kept
	for i := range 20 {
		k, err := registry.Keep(t.Context(), client.Registration{
			Key: domain.Key{Service: "kept", ID: fmt.Sprint(i)}, Details: domain.Details{Address: "10.0.0.2", TTL: domain.Duration(20 * time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, k)
	}
	stop := make(chan struct{})
	var mu sync.Mutex
	var acknowledged []string
	var writers sync.WaitGroup
	for w := range 8 {
		own := c.client(ids[w%3:]...)
		if w%3 == 0 {
			own = registry
		}
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("w%d-%d", w, n)
				if _, err := own.Register(t.Context(), domain.Key{Service: "web", ID: id}, domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL}, client.CreateOnly()); err == nil {
					mu.Lock()
					acknowledged = append(acknowledged, id)
					mu.Unlock()
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	for deadline := time.Now().Add(lasting); time.Now().Before(deadline); {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		victim := ids[rng.IntN(3)]
		switch rng.IntN(5) {
		case 0, 1:
			c.kill(victim)
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
			c.start(victim)
		case 2:
			c.kill(ids...)
			c.start(ids...)
		case 3:
			_ = c.nodes[victim].Process.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
			_ = c.nodes[victim].Process.Signal(syscall.SIGCONT)
		case 4:
			walls.cut(victim, rng.IntN(3))
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
			walls.mend()
		}
	}
	close(stop)
	writers.Wait()
	c.equal(ids...)
	log, err := c.log("n1")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range acknowledged {
		if n := strings.Count(log, "instance-default/web/"+id+" "); n != 1 {
			t.Errorf("%s was acknowledged and has %d events", id, n)
		}
	}
	for line := range strings.Lines(log) { // a prober of a node that was killed is silent, and may expire
		if strings.Contains(line, "instance-default/kept/") && strings.Contains(line, domain.TypeLeaseExpired) {
			t.Errorf("it was kept alive: %s", line)
		}
	}
	for _, k := range kept {
		if s := k.State(); s.Phase != client.Registered || s.Epoch != 1 {
			t.Errorf("%+v", s)
		}
	}
	t.Logf("%d registrations were acknowledged", len(acknowledged))
}

// walls are between the nodes of a cluster: each node is reached by the others through them.
type walls struct {
	mu    sync.Mutex
	down  map[string]bool // by node: nobody reaches it
	conns map[net.Conn]string
}

// newWalledTrio makes three nodes whose addresses in the cluster are those of proxies, one for each node.
func newWalledTrio(t *testing.T) (*trio, *walls) {
	t.Helper()
	c, w := newTrio(t, nil), &walls{down: map[string]bool{}, conns: map[net.Conn]string{}}
	for id, n := range c.nodes {
		own := freeAddress(t)
		l, err := net.Listen("tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go w.serve(l, id, own)
		n.args = append(n.args, "--cluster-listen", own)
	}
	return c, w
}

func (w *walls) serve(l net.Listener, to, target string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		go w.carry(from, to, target)
	}
}

// carry carries a connection to a node, unless the node is cut off.
func (w *walls) carry(from net.Conn, to, target string) {
	defer from.Close()
	onward, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer onward.Close()
	w.mu.Lock()
	if w.down[to] {
		w.mu.Unlock()
		return
	}
	w.conns[from], w.conns[onward] = to, to
	w.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, onward}, {onward, from}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	w.mu.Lock()
	delete(w.conns, from)
	delete(w.conns, onward)
	w.mu.Unlock()
}

// cut lets nobody reach a node (which 0), or nobody reach the two others (1), or nobody reach anybody (2). A node that
// nobody reaches still reaches the others, so that the first is a partition in one direction.
func (w *walls) cut(node string, which int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range []string{"n1", "n2", "n3"} {
		if which == 2 || (id == node) == (which == 0) {
			w.down[id] = true
		}
	}
	for conn, to := range w.conns {
		if w.down[to] {
			_ = conn.Close()
		}
	}
}

func (w *walls) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.down)
}
