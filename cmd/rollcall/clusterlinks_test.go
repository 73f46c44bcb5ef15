package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// links are the ways between the nodes of a cluster, each in its direction: a node sends to another one over a connection that it
// opens itself, and answers on none.
type links struct {
	mu      sync.Mutex
	bad     map[way]badness
	changed chan struct{} // closed, and replaced, at each change
}

// way is from a node to another.
type way struct{ from, to string }

// badness is what is wrong with a way.
type badness struct {
	cut    bool          // nothing comes through, and nothing says so
	delay  time.Duration // of each piece
	breaks float64       // how often a piece breaks its connection; between processes in one network
	loses  float64       // how often a packet is lost; between namespaces
}

// ways are what connects the nodes of a cluster.
type ways interface {
	// set makes ways bad, and all others good.
	set(bad map[way]badness)
}

// newLinkedTrio makes three nodes whose addresses in the cluster are those of proxies, one for each node.
func newLinkedTrio(t *testing.T) (*trio, *links) {
	t.Helper()
	c, l := newTrio(t, nil), &links{bad: map[way]badness{}, changed: make(chan struct{})}
	for id, n := range c.nodes {
		own := freeAddress(t)
		at, err := net.Listen("tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = at.Close() })
		go func() {
			for {
				conn, err := at.Accept()
				if err != nil {
					return
				}
				go l.carry(conn, id, own)
			}
		}()
		n.args = append(n.args, "--cluster-listen", own)
	}
	return c, l
}

// set implements ways.
func (l *links) set(bad map[way]badness) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = bad
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *links) at(w way) (badness, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad[w], l.changed
}

// carry carries a connection to a node. The first frame says who opened it.
func (l *links) carry(from net.Conn, to, target string) {
	defer from.Close()
	hello, name := readHello(from)
	onward, err := net.Dial("tcp", target)
	if err != nil || name == "" {
		return
	}
	defer onward.Close()
	done := make(chan struct{}, 2)
	pass := func(w way, into, out net.Conn, first []byte) {
		defer func() { done <- struct{}{} }()
		buffer := append(make([]byte, 0, 64<<10), first...)
		for {
			if len(buffer) > 0 && !l.let(w) {
				return
			}
			if _, err := into.Write(buffer); err != nil {
				return
			}
			n, err := out.Read(buffer[:cap(buffer)])
			if err != nil {
				return
			}
			buffer = buffer[:n]
		}
	}
	go pass(way{name, to}, onward, from, hello)
	go pass(way{to, name}, from, onward, nil)
	<-done
}

// let waits until a piece may go its way. It is false if the piece breaks the connection, or waits for longer than a node would.
func (l *links) let(w way) bool {
	given := time.After(time.Minute)
	for {
		b, changed := l.at(w)
		if b.breaks > 0 && rand.Float64() < b.breaks {
			return false
		}
		if !b.cut {
			time.Sleep(b.delay)
			return true
		}
		select {
		case <-changed:
		case <-given:
			return false
		}
	}
}

// readHello reads the first frame of a connection, and who sent it.
func readHello(c net.Conn) (frame []byte, name string) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, ""
	}
	content := make([]byte, min(uint32(head[0])<<24|uint32(head[1])<<16|uint32(head[2])<<8|uint32(head[3]), 64<<10)-1)
	if _, err := io.ReadFull(c, content); err != nil {
		return nil, ""
	}
	var hello struct{ Name string }
	if json.Unmarshal(content, &hello) != nil {
		return nil, ""
	}
	return append(head, content...), hello.Name
}
