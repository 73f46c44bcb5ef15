// Package lane answers heartbeats and lookups straight from the connection. Most of what either costs a
// server is HTTP for everyone: headers put into maps, a goroutine that watches for the client to go, a
// context. In their plainest form they need none of it. Whatever is not exactly that, in any way, goes to
// the HTTP server as it came, which answers the same request with the same bytes (ADR 017).
//
// The package knows HTTP only. What a heartbeat or a lookup does is the Face's.
package lane

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Face answers the plain requests of one connection. One goroutine at a time calls it.
//
// mine is false only where nothing was done: the HTTP server then gets the request and does it. A request that
// was begun and failed is answered with its failure: the server must not carry it out a second time.
//
// What the request's slices hold is gone when the method returns. What the reply's slices hold must stay
// until the next call.
type Face interface {
	// Heartbeat renews the lease of an instance of the default namespace.
	Heartbeat(service, id []byte) (reply Reply, mine bool)
	// Lookup lists a service of the default namespace. match is the request's If-None-Match; nil: there is none.
	Lookup(service, match []byte) (reply Reply, mine bool)
}

// Reply is what a Face answers. The lane adds Date and Content-Length. Headers that are empty are left out.
type Reply struct {
	Status     int
	Type       string // Content-Type
	ETag       string
	RetryAfter string
	Position   []byte // Rollcall-Position
	RequestID  []byte // X-Request-Id
	Body       []byte // must be nil with 304
}

// Options is what a lane is made of.
type Options struct {
	// Face makes the Face of a connection from the client's address.
	Face func(client net.Addr) Face
	// Host says whether requests to a host (the header, with its port) are answered; nil: to any. Those that
	// are not get their refusal from the HTTP server.
	Host func(host []byte) bool
	// Observe is told of every reply and how long it took; nil: nobody is.
	Observe func(heartbeat bool, status int, took time.Duration)
}

// Lane makes connections that answer plain requests. An http.Server uses it by serving Listen's listener and
// calling ConnState.
type Lane struct {
	options  Options
	date     httpDate
	answered atomic.Int64

	mu      sync.Mutex
	closing map[*conn]struct{} // connections that are closed when their reply has been sent
	drained chan struct{}      // closed when closing is empty; nil: nobody waits for that
}

// New is a lane.
func New(options Options) *Lane {
	return &Lane{options: options, closing: map[*conn]struct{}{}}
}

// Listen wraps the listener of the http.Server. The server must be given ConnState, too.
func (l *Lane) Listen(inner net.Listener) net.Listener { return listener{inner, l} }

// Answered is how many requests the lane has answered.
func (l *Lane) Answered() int64 { return l.answered.Load() }

// ConnState is for http.Server: it tells a connection whether the server works on a request.
func (l *Lane) ConnState(c net.Conn, state http.ConnState) {
	if c, ok := c.(*conn); ok {
		c.between = state == http.StateIdle
		c.working = state == http.StateActive
		c.until = time.Time{} // the server has set its own deadlines since
	}
}

// Wait waits for the replies of connections that the server has closed: http.Server.Shutdown takes a
// connection in its lane for an idle one and does not wait for it. When the context ends, what is left is cut off.
func (l *Lane) Wait(ctx context.Context) error {
	l.mu.Lock()
	if len(l.closing) == 0 {
		l.mu.Unlock()
		return nil
	}
	drained := make(chan struct{})
	l.drained = drained
	l.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.closing {
		_ = c.TCPConn.Close() // its writer fails, and takes it out
	}
	return fmt.Errorf("%d replies of the lane were cut off: %w", len(l.closing), ctx.Err())
}

type listener struct {
	net.Listener
	lane *Lane
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return &conn{TCPConn: tcp, lane: l.lane}, nil
	}
	return c, err
}

// httpDate is the Date header of replies, made once a second.
type httpDate struct{ newest atomic.Pointer[dateText] }

type dateText struct {
	second int64
	text   string
}

func (d *httpDate) at(now time.Time) string {
	if t := d.newest.Load(); t != nil && t.second == now.Unix() {
		return t.text
	}
	t := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	d.newest.Store(t)
	return t.text
}
