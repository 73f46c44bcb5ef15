// Package lane answers plain heartbeats, registrations, lookups and histories on the connection, before the HTTP server. Most of the
// cost of these requests is general HTTP work: maps of headers, a goroutine that notices when the client closes the
// connection, a context. A request in the plainest form needs none of this work. The HTTP server gets every other request
// unchanged, and answers a plain request with the same bytes as the lane (ADR 017).
//
// The package knows HTTP only. A Face carries out the requests.
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

// Face answers the plain requests of one connection. One goroutine at a time calls a Face.
//
// INVARIANT: mine is false only if nothing was done. Then the HTTP server gets the request and carries it out. A request
// that was begun and failed is answered with the failure, so that the server does not carry it out a second time.
//
// INVARIANT: the slices of a request belong to the connection. A Face must not keep them after the method returns. The
// slices of a reply belong to the Face, which must not change them until its next call.
type Face interface {
	// Authorize is called before each request with its headers Authorization and Rollcall-Via; nil: there is none. false makes
	// the request the HTTP server's.
	Authorize(authorization, via []byte) bool
	// Heartbeat renews the lease of an instance.
	Heartbeat(of Subject) (reply Reply, mine bool)
	// Lookup lists a service, or its ready instances only. match is the request's If-None-Match, encodings its Accept-Encoding;
	// nil: there is none.
	Lookup(of Subject, ready bool, match, encodings []byte) (reply Reply, mine bool)
	// Register registers an instance. body is JSON, or says that it is.
	Register(of Subject, body []byte) (reply Reply, mine bool)
	// History gives the newest history entries of an instance. limit has the digits of how many; nil: as many
	// as usual. match and encodings are as for Lookup.
	History(of Subject, limit, match, encodings []byte) (reply Reply, mine bool)
	// Heartbeats renews the leases that the body, which is JSON or says that it is, names. namespace is that of the names without one; nil: the
	// default one. owner is whose instances they must be, as the
	// query escapes it; nil: the request does not say. minimal says that the client prefers a minimal reply.
	Heartbeats(namespace, body, owner []byte, minimal bool) (reply Reply, mine bool)
}

// Batch carries out heartbeats and registrations of many connections at once. One goroutine at a time uses a Batch: it adds them, sends them,
// takes the reply of each, in their order, and resets the Batch.
//
// INVARIANT: the slices of a request belong to the lane until Reset. The slices of a reply belong to the Batch until the next Reply.
type Batch interface {
	// Add adds a heartbeat, or a registration with its body, that the Face of its connection has authorized. false: nothing was done, and the
	// request is the Face's.
	Add(face Face, kind Kind, of Subject, body []byte) bool
	// Send carries out what was added.
	Send()
	// Reply gives the reply to the request that was added as number i, from 0. mine is as for the methods of a Face: where it is false, the
	// request is the Face's. The reply has neither a Bound nor Sent.
	Reply(i int) (reply Reply, mine bool)
	// Reset makes the Batch ready for other requests.
	Reset()
}

// Reply is the reply of a Face. The lane adds Date and Content-Length, and leaves out empty headers.
type Reply struct {
	Status     int
	Type       string // Content-Type
	ETag       string
	RetryAfter string
	Applied    string // Preference-Applied
	Vary       string
	Policy     string // X-Consul-Default-Acl-Policy
	Location   []byte
	Position   []byte // Rollcall-Position
	RequestID  []byte // X-Request-Id
	Body       []byte // must be nil with 304
	// Bound is asked right before the reply is sent; nil: nobody has to be asked. Only a request that changes nothing may have
	// a Bound.
	Bound Bound
	// Sent is called when the reply is written, or its write has failed; nil: nobody is told. Then the slices of the reply are
	// used no more.
	Sent func()
}

// Bound decides whether a large reply may be sent now.
type Bound interface {
	// Begin says whether the reply may be sent. cut makes the write of the reply fail, and may be called until End returns. If
	// Begin is false, the reply is not sent, and the HTTP server gets the request.
	Begin(cut func()) bool
	// End is called after a Begin that was true, when the reply is written or its write has failed.
	End()
}

// Options are the options of a Lane.
type Options struct {
	// Face makes the Face of a connection. It must not read, write or close the connection, which is a *tls.Conn where
	// the listener speaks TLS.
	Face func(net.Conn) Face
	// Batch makes a Batch; nil: each request is carried out by itself.
	Batch func() Batch
	// Batches is how many Batches are under way at once; 0: as many as there are processors, and two at least.
	Batches int
	// Reports makes the Reports of a connection, in the place of a Face; nil: the lane has Faces.
	Reports func(net.Conn) Reports
	// Host says whether the lane may answer requests to a host (the Host header, with its port). nil: to any host. The
	// HTTP server refuses the other requests.
	Host func(host []byte) bool
	// Vary is a Vary of every reply, before the reply's own; "": there is none.
	Vary string
	// Observe is told of every reply and how long it took; nil: nobody is.
	Observe func(kind Kind, status int, took time.Duration)
}

// Lane makes connections that answer plain requests. An http.Server uses it by serving Listen's listener and
// calling ConnState.
type Lane struct {
	options  Options
	date     httpDate
	answered atomic.Int64
	joined   atomic.Int64

	registering atomic.Int32 // registrations under way

	joining sync.Mutex // guards loop, and the loop's members
	loop    *loop      // nil: no connection is in a loop

	mu      sync.Mutex         // also guards conn.Conn of a conn that joins or leaves a loop
	closing map[*conn]struct{} // connections that are closed when their reply has been sent
	drained chan struct{}      // closed by closeNow when closing is empty; nil: no call of Wait
}

// New makes a lane.
func New(options Options) *Lane {
	return &Lane{options: options, closing: map[*conn]struct{}{}}
}

// Listen wraps the listener of the http.Server. The server must be given ConnState, too.
func (l *Lane) Listen(inner net.Listener) net.Listener { return listener{inner, l} }

// Answered is the number of requests that the lane has answered.
func (l *Lane) Answered() int64 { return l.answered.Load() }

// Joined is how many times a connection has joined a loop.
func (l *Lane) Joined() int64 { return l.joined.Load() }

// ConnState is for http.Server. It notes in the connection whether the server handles a request.
func (l *Lane) ConnState(c net.Conn, state http.ConnState) {
	if s, ok := c.(*secureConn); ok {
		c = s.conn
	}
	if c, ok := c.(*conn); ok {
		c.between = state == http.StateIdle
		c.working = state == http.StateActive
		c.until = time.Time{} // the server has set its own deadlines
	}
}

// Wait waits for the replies of connections that the server has closed. http.Server.Shutdown takes a connection on which
// the lane answers for an idle connection, and does not wait. When the context ends, Wait closes the connections that
// are left.
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
		_ = c.Conn.Close() // the write on the connection fails, and closeNow removes the connection
	}
	return fmt.Errorf("%d replies of the lane were cut off: %w", len(l.closing), ctx.Err())
}

type listener struct {
	net.Listener
	lane *Lane
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || c.LocalAddr().Network() != "tcp" { // the server alone knows who comes through a Unix socket
		return c, err
	}
	return l.lane.conn(c), nil
}

func (l *Lane) conn(c net.Conn) *conn {
	made := &conn{Conn: c, lane: l, joinAfter: never}
	if l.options.Batch != nil {
		made.joinAfter = firstJoin
	}
	return made
}

// httpDate is the Date header of replies. Its text is made once a second.
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
