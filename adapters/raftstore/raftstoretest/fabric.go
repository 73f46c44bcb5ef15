// Package raftstoretest is a network in memory for tests of clusters within one process, with faults. In a synctest bubble its
// delays take no real time.
package raftstoretest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Fabric is a network in memory. Each link, in each direction, can be cut, slow, or break at random.
type Fabric struct {
	mu        sync.Mutex
	listeners map[string]*listener // by address
	cuts      map[link]bool
	slow      map[link]slowness
	down      map[string]bool // nodes without any link
	changed   chan struct{}   // closed, and replaced, at each change
	rng       *rand.Rand
}

type link struct{ from, to string }

type slowness struct {
	delay  time.Duration // of each write
	breaks float64       // how often a write breaks the connection
}

// NewFabric is a network without faults. The seed decides which writes break slow and unreliable links.
func NewFabric(seed uint64) *Fabric {
	return &Fabric{
		listeners: map[string]*listener{}, cuts: map[link]bool{}, slow: map[link]slowness{}, down: map[string]bool{},
		changed: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 17)),
	}
}

// change changes the links and wakes the writes that wait.
func (f *Fabric) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
	close(f.changed)
	f.changed = make(chan struct{})
}

// Cut cuts the way from one node to another.
func (f *Fabric) Cut(from, to string) { f.change(func() { f.cuts[link{from, to}] = true }) }

// Isolate cuts all ways between a node and others.
func (f *Fabric) Isolate(node string, others ...string) {
	for _, other := range others {
		f.Cut(node, other)
		f.Cut(other, node)
	}
}

// Unplug takes all links of a node away, or gives them back, apart from what is cut.
func (f *Fabric) Unplug(node string, down bool) { f.change(func() { f.down[node] = down }) }

// Heal makes all links whole and fast.
func (f *Fabric) Heal() { f.change(func() { clear(f.cuts); clear(f.slow); clear(f.down) }) }

// Worsen makes a link slow and unreliable.
func (f *Fabric) Worsen(from, to string, delay time.Duration, breaks float64) {
	f.change(func() { f.slow[link{from, to}] = slowness{delay, breaks} })
}

var errBroken = errors.New("the connection broke")

// pass waits until a write may pass. It gives an error if the write breaks the connection, or may not pass in time.
func (f *Fabric) pass(from, to string, deadline time.Time, closed <-chan struct{}) error {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	for {
		f.mu.Lock()
		blocked := f.cuts[link{from, to}] || f.down[from] || f.down[to]
		slow := f.slow[link{from, to}]
		breaks := slow.breaks > 0 && f.rng.Float64() < slow.breaks
		changed := f.changed
		f.mu.Unlock()
		if breaks {
			return errBroken
		}
		if !blocked {
			if slow.delay > 0 {
				time.Sleep(slow.delay)
			}
			return nil
		}
		select {
		case <-changed:
		case <-closed:
			return net.ErrClosed
		case <-expired:
			return context.DeadlineExceeded
		}
	}
}

// Endpoint is the network as a node has it.
type Endpoint struct {
	fabric *Fabric
	node   string
}

func (f *Fabric) Endpoint(node string) *Endpoint { return &Endpoint{f, node} }

// Listen implements raftstore.Network.
func (e *Endpoint) Listen(address string) (net.Listener, error) {
	e.fabric.mu.Lock()
	defer e.fabric.mu.Unlock()
	if e.fabric.listeners[address] != nil {
		return nil, errors.New("the address is in use")
	}
	l := &listener{fabric: e.fabric, address: address, node: e.node, conns: make(chan net.Conn), closed: make(chan struct{})}
	e.fabric.listeners[address] = l
	return l, nil
}

// Dial implements raftstore.Network.
func (e *Endpoint) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	e.fabric.mu.Lock()
	l := e.fabric.listeners[address]
	e.fabric.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	deadline, _ := ctx.Deadline()
	if err := e.fabric.pass(e.node, l.node, deadline, ctx.Done()); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	select {
	case l.conns <- newConn(e.fabric, far, l.node, e.node):
		return newConn(e.fabric, near, e.node, l.node), nil
	case <-l.closed:
		return nil, errors.New("nobody listens any more")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Authentic implements raftstore.Network.
func (e *Endpoint) Authentic(net.Conn, string) error { return nil }

type listener struct {
	fabric  *Fabric
	address string
	node    string
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.fabric.mu.Lock()
		defer l.fabric.mu.Unlock()
		delete(l.fabric.listeners, l.address)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.address} }

// conn is one end of a connection.
type conn struct {
	net.Conn
	fabric   *Fabric
	from, to string
	closed   chan struct{}
	once     sync.Once

	mu       sync.Mutex
	deadline time.Time // of writes
}

func newConn(f *Fabric, c net.Conn, from, to string) *conn {
	return &conn{Conn: c, fabric: f, from: from, to: to, closed: make(chan struct{})}
}

func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	if err := c.fabric.pass(c.from, c.to, deadline, c.closed); err != nil {
		_ = c.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
