package esdbtest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/test/bufconn"
)

// Network is where nodes listen.
type Network interface {
	Listen(address string) (net.Listener, error)
	Any() string // an address that is free
}

// TCP is the loopback.
type TCP struct{}

// Listen implements Network.
func (TCP) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

// Any implements Network.
func (TCP) Any() string { return "127.0.0.1:0" }

// Memory is a network within the process, on which the time of testing/synctest passes.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	next      int
}

// NewMemory makes a network.
func NewMemory() *Memory { return &Memory{listeners: make(map[string]*bufconn.Listener)} }

// Any implements Network.
func (m *Memory) Any() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	return fmt.Sprintf("127.0.0.1:%d", m.next)
}

type memoryListener struct {
	*bufconn.Listener
	address net.Addr
	gone    func()
}

func (l memoryListener) Addr() net.Addr { return l.address }

func (l memoryListener) Close() error {
	l.gone()
	return l.Listener.Close()
}

// Listen implements Network.
func (m *Memory) Listen(address string) (net.Listener, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	l := bufconn.Listen(1 << 20)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners[address] = l
	return memoryListener{l, at, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.listeners[address] == l {
			delete(m.listeners, address)
		}
	}}, nil
}

// Dial connects to a node. Where nobody listens it is refused.
func (m *Memory) Dial(ctx context.Context, address string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[address]
	m.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return l.DialContext(ctx)
}

// gate is where a process meets its connections. While it is shut nothing is read or written, as with a
// process that is stopped: the other side's bytes are taken by the kernel, and nothing answers.
type gate struct {
	mu    sync.Mutex
	shut  bool
	moved *sync.Cond
	conns map[*gatedConn]struct{}
}

func newGate() *gate {
	g := &gate{conns: make(map[*gatedConn]struct{})}
	g.moved = sync.NewCond(&g.mu)
	return g
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.moved.Broadcast()
}

// pass waits while the gate is shut and the connection is open.
func (g *gate) pass(c *gatedConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut && !c.closed {
		g.moved.Wait()
	}
}

// reset breaks all connections; the other side is told so, as a kernel does for a process that is gone.
func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.closed = true
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Conn.Close()
	}
	g.moved.Broadcast()
}

func (g *gate) listen(l net.Listener) net.Listener { return gatedListener{l, g} }

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &gatedConn{Conn: conn, gate: l.gate}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	l.gate.conns[c] = struct{}{}
	return c, nil
}

type gatedConn struct {
	net.Conn
	gate   *gate
	closed bool // guarded by gate.mu
}

// Read gives no byte that came while the gate was shut before it opens.
func (c *gatedConn) Read(b []byte) (int, error) {
	c.gate.pass(c)
	n, err := c.Conn.Read(b)
	c.gate.pass(c)
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.gate.pass(c)
	return c.Conn.Write(b)
}

func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	c.closed = true
	delete(c.gate.conns, c)
	c.gate.moved.Broadcast()
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
