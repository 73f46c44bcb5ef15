package lane

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// A connection joins a loop after firstJoin heartbeats and registrations without another request. Registrations count only where crowd of them are
// under way at least: one alone would wait for two switches of goroutines more. Where the loop soon has to hand it back, it joins later
// the next time. never: the connection joins no loop.
const (
	firstJoin = 2
	crowd     = 8
	lastJoin  = 1 << 12
	never     = math.MaxInt
)

// Timeouts of a connection whose requests the lane answers. The lane sets a deadline anew only when the deadline in
// force has less than the timeout left, so that a timeout may be longer by deadlineSlack.
const (
	idleTimeout   = 2 * time.Minute // without a request
	writeTimeout  = 30 * time.Second
	deadlineSlack = 30 * time.Second
)

// conn is one connection of the HTTP server. The lane is in the method Read. When the server reads the next request,
// Read answers plain requests itself, and returns to the server with the first bytes that are not a plain request.
//
// conn relies on the following behaviour of net/http (TestTheLaneIsByteForByteTheServer notices a change):
//
//  1. The server reads requests through one bufio.Reader for each connection. The first Read of the connection gets the
//     whole buffer of the bufio.Reader. A later Read gets the free part of the buffer. The free part is the whole
//     buffer only when the buffer holds no byte.
//  2. When the server has answered a request and read the body of the request, the server calls ConnState(StateIdle).
//     Then the server reads if the buffer holds fewer than 4 bytes of the next request. When the server has the headers
//     of a request, the server calls ConnState(StateActive), before the handler runs.
//  3. While a handler runs, and after the body is read, the server reads one byte into memory outside the buffer, to
//     notice that the client closes the connection.
//
// INVARIANT: the lane takes bytes only if the bytes are exactly one whole request.
//   - The bytes begin a request if between is true and Read got the whole buffer: by 1 and 2, the server then holds no
//     byte of the request.
//   - The bytes are the whole request if after the empty line that ends the headers there are as many bytes as
//     Content-Length says: none without that header. If there are more or fewer, or if the line is missing, the server
//     gets the bytes.
//
// INVARIANT: a request is carried out once. Read either answers a request and gives no byte of the request to the
// server, or gives all bytes to the server after the Face reported that nothing was done.
//
// INVARIANT: the server's buffer belongs to the server. The lane reads a request from the buffer during Read only. No
// slice of a plainRequest is kept after the request is answered: host is a copy.
//
// Ownership of the fields: the fields below state belong to the goroutine that serves the connection. The read of 3
// runs in another goroutine. The serving goroutine starts that goroutine after ConnState(StateActive), and waits for
// its end before the next read. The read of 3 uses buffer and working only. Any goroutine may call Close, which uses
// state only.
type conn struct {
	net.Conn
	lane  *Lane
	state atomic.Int32 // open, busy, closing or closed

	between   bool         // the server has answered every request that it got, and waits for the next request
	working   bool         // the server handles a request
	buffer    []byte       // the server's whole buffer, kept to compare addresses; its bytes are not read through this field
	face      Face         // nil: no plain request has come
	reports   Reports      // nil: no plain report has come
	host      []byte       // copy of the newest host that was allowed
	socket    *socket.Conn // of Conn; nil: there is none, or the lane has not answered on Conn yet
	cut       func()       // ends the write under way; nil: no large reply was sent
	sequence  int          // length of the newest sequence of requests that a Batch may carry out
	crowded   bool         // at least crowd registrations were under way with the newest one
	joinAfter int          // a sequence of so many makes the connection join a loop
	until     time.Time    // the lane's deadlines are later than this; zero: the server's deadlines are in force
}

// The states of a connection. Close turns a busy connection into a closing connection, which is closed when its reply
// is sent.
const (
	open int32 = iota
	busy
	closing
	closed
)

// Read implements net.Conn for the HTTP server.
func (c *conn) Read(p []byte) (int, error) {
	if c.buffer == nil {
		c.buffer = p
	}
	if c.watches(p) {
		return c.watch(p)
	}
	for {
		n, err := c.stream().Read(p)
		if err != nil || !c.between || len(p) != len(c.buffer) || &p[0] != &c.buffer[0] {
			return c.pass(n, err)
		}
		result := c.answer(p[:n])
		if result == answered && c.sequence >= c.joinAfter {
			if n, err = c.join(p); err != nil {
				return c.pass(0, err)
			}
			if n > 0 {
				result = c.answer(p[:n])
			}
		}
		switch result {
		case notMine:
			return c.pass(n, nil)
		case ended:
			return 0, net.ErrClosed
		}
	}
}

// watches says whether a read only has to notice that the client closes the connection (3 above). Such a read must take
// no byte: if the client sends its next request early, the read would take the first byte of the request, and the
// server instead of the lane would have to answer the request.
//
// A read of one byte into the last byte of the server's buffer is a usual read: 4,095 bytes of a request have come.
// That read must return the byte, for the server ends the connection after many reads without a byte.
func (c *conn) watches(p []byte) bool {
	return c.working && len(p) == 1 && &p[0] != &c.buffer[len(c.buffer)-1]
}

// stream is what reads from the connection and writes to it.
func (c *conn) stream() io.ReadWriter {
	if c.socket != nil {
		return c.socket
	}
	return c.Conn
}

// pass returns the bytes that were read to the server.
func (c *conn) pass(n int, err error) (int, error) {
	c.between = false
	if !c.until.IsZero() {
		c.until = time.Time{}
		_ = c.Conn.SetWriteDeadline(time.Time{}) // the server sets its own write deadline, if any
	}
	return n, err
}

// SetWriteDeadline implements net.Conn. Any goroutine may call it.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

// SyscallConn is for the goroutine that handles a request. Only a connection over plain TCP has one.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite is for http.Server, which ends a reply to a request that was not read with it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn. Close does not wait: a busy connection is closed when its reply is sent. Lane.Wait waits
// for these connections.
func (c *conn) Close() error {
	for {
		switch s := c.state.Load(); s {
		case busy:
			if c.lane.closeLater(c) {
				return nil
			}
		case open:
			if c.state.CompareAndSwap(open, closed) {
				return c.Conn.Close()
			}
		default:
			return nil
		}
	}
}

// closeLater marks a busy connection, so that the connection is closed when its reply is sent. false: the connection is
// not busy any more.
func (l *Lane) closeLater(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.state.CompareAndSwap(busy, closing) {
		return false
	}
	l.closing[c] = struct{}{}
	return true
}

// done ends the busy state after a reply. false: the connection is closed.
func (c *conn) done() bool {
	if c.state.CompareAndSwap(busy, open) {
		return true
	}
	c.lane.closeNow(c)
	return false
}

// closeNow closes a connection in the state closing.
func (l *Lane) closeNow(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state.Store(closed)
	_ = c.Conn.Close()
	delete(l.closing, c)
	if len(l.closing) == 0 && l.drained != nil {
		close(l.drained)
		l.drained = nil
	}
}

// outcome is the result of the lane's work on bytes that begin a request.
type outcome int

const (
	notMine  outcome = iota // nothing was done; the server must get the bytes
	answered                // the request was carried out, or failed, and was answered
	ended                   // the connection is closed, or must be closed
)

// answer answers the bytes if they are a plain request that the Face takes.
func (c *conn) answer(raw []byte) (result outcome) {
	request, ok := readPlain(raw, c.lane.options.Reports != nil)
	if !ok || !c.allows(request.host) {
		return notMine
	}
	if !c.state.CompareAndSwap(open, busy) {
		return ended
	}
	defer func() { // runs also after a panic of the Face: net/http then closes the connection
		if !c.done() {
			result = ended
		} else if result == ended {
			_ = c.Close()
		}
	}()
	return c.carryOut(request)
}

func (c *conn) allows(host []byte) bool {
	if c.lane.options.Host == nil || c.host != nil && bytes.Equal(host, c.host) {
		return true
	}
	if !c.lane.options.Host(host) {
		return false
	}
	c.host = bytes.Clone(host)
	return true
}

// carryOut REQUIRES: the connection is busy.
func (c *conn) carryOut(request plainRequest) outcome {
	now := time.Now()
	if c.until.Sub(now) < 0 {
		c.until = now.Add(deadlineSlack)
		// The errors are ignored: a connection that cannot have deadlines fails at the next write.
		_ = c.Conn.SetReadDeadline(c.until.Add(idleTimeout))
		_ = c.Conn.SetWriteDeadline(c.until.Add(writeTimeout))
		if c.socket == nil {
			c.socket = socket.Of(c.Conn)
		}
	}
	var reply Reply
	var mine bool
	if c.lane.options.Reports != nil { // not through a function value, for which the request would take memory of its own
		reply, mine = c.report(&request)
	} else {
		reply, mine = c.ask(&request)
	}
	if !mine {
		c.sequence = 0
		return notMine
	}
	if reply.Sent != nil {
		defer reply.Sent()
	}
	if reply.Bound != nil {
		if c.cut == nil {
			// A deadline that is over makes the write under way fail.
			c.cut = func() { _ = c.Conn.SetWriteDeadline(time.Unix(1, 0)) }
		}
		if !reply.Bound.Begin(c.cut) {
			return notMine
		}
		defer reply.Bound.End()
	}
	c.lane.answered.Add(1)
	if c.sequence++; !request.kind.together() || request.kind == Registration && !c.crowded {
		c.sequence = 0
	}
	err := c.send(&reply, now)
	if c.lane.options.Observe != nil {
		c.lane.options.Observe(request.kind, reply.Status, time.Since(now))
	}
	if err != nil {
		return ended // the client may have a part of the reply, so that no other reply can follow
	}
	return answered
}

// ask lets the Face answer a request. REQUIRES: as carryOut.
func (c *conn) ask(request *plainRequest) (reply Reply, mine bool) {
	if c.face == nil {
		c.face = c.lane.options.Face(c.Conn)
	}
	if !c.face.Authorize(request.authorization, request.via) {
		return Reply{}, false
	}
	switch request.kind {
	case Lookup:
		return c.face.Lookup(request.Subject, request.ready, request.match, request.encodings)
	case Heartbeat:
		return c.face.Heartbeat(request.Subject)
	case Registration:
		defer c.lane.registering.Add(-1)
		c.crowded = c.lane.registering.Add(1) >= crowd
		return c.face.Register(request.Subject, request.body)
	case History:
		return c.face.History(request.Subject, request.limit, request.match, request.encodings)
	case Heartbeats:
		return c.face.Heartbeats(request.Namespace, request.body, request.owner, request.minimal)
	}
	return Reply{}, false
}
