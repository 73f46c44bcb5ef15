package lane

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Timeouts of a connection's lane. They are set anew now and then only, and so may be longer by slack.
const (
	idleTimeout  = 2 * time.Minute // without a request
	writeTimeout = 30 * time.Second
	slack        = 30 * time.Second
)

// conn is one connection of the HTTP server; the lane is in its Read. When the server waits for the next
// request, Read looks at what has come, answers plain requests itself, and returns to the server with the
// first other thing.
//
// What net/http does that this relies on (TestTheLaneIsByteForByteTheServer would notice a change):
//
//  1. The server reads requests through one bufio.Reader a connection. The connection's first Read offers the
//     whole of its buffer. A later Read offers what is free of it: from the first byte on, only when the
//     buffer holds nothing.
//  2. When a request is answered and its body is read, the server calls ConnState(StateIdle), and then reads if
//     it holds fewer than 4 bytes of the next request. When it has a request's headers, it calls
//     ConnState(StateActive), before the handler runs.
//  3. While a handler runs and the body is read, the server reads one byte into memory of its own, to notice
//     that the client goes away.
//
// INVARIANT: bytes are taken by the lane only if they begin a request, and if they are all of it. They begin
// one if between is true and Read offers the whole buffer: by 1 and 2, the server then holds nothing of it.
// They are all of it if they end with the empty line after the headers, for a plain request has no body.
// What is behind that line, or missing before it, makes the request the server's.
//
// INVARIANT: a request is carried out once. Read either answers it and gives none of its bytes to the server,
// or gives all of them, after the Face said that nothing was done.
//
// Who may touch what: the fields below state belong to the goroutine that serves the connection. The read of 3
// comes from another goroutine, which the first starts after ConnState(StateActive) and waits for before it
// reads again; it reads buffer and working only. Close comes from any goroutine and touches state only.
type conn struct {
	*net.TCPConn
	lane  *Lane
	state atomic.Int32 // open, busy, closing or closed

	between bool      // the server has answered all it was given, and waits for the next request
	working bool      // the server works on a request
	buffer  []byte    // the server's, whole; it is compared with, never looked into
	face    Face      // nil: no plain request has come
	host    []byte    // the host that was allowed last
	reply   []byte    // the headers of the newest reply; used again
	until   time.Time // the deadlines in force are later; zero: they are the server's
}

// The states of a connection. A busy one that is to be closed is closing until its reply is sent.
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
		return watch(c.TCPConn, p)
	}
	for {
		n, err := c.TCPConn.Read(p)
		if err != nil || !c.between || len(p) != len(c.buffer) || &p[0] != &c.buffer[0] {
			return c.pass(n, err)
		}
		switch c.answer(p[:n]) {
		case notMine:
			return c.pass(n, nil)
		case ended:
			return 0, net.ErrClosed
		}
	}
}

// watches says whether a read looks out for the client's going away (3 above). A client that is quick with its
// next request would have the first byte of it taken, so that the server, not the lane, had to answer it.
//
// A read of one byte into the server's buffer is another thing: 4,095 bytes of a request have come, and the
// buffer has one byte left. It has to be filled: a read that gives nothing again and again ends the connection.
func (c *conn) watches(p []byte) bool {
	return c.working && len(p) == 1 && &p[0] != &c.buffer[len(c.buffer)-1]
}

// pass gives the server what was read.
func (c *conn) pass(n int, err error) (int, error) {
	c.between = false
	if !c.until.IsZero() {
		c.until = time.Time{}
		_ = c.SetWriteDeadline(time.Time{}) // the server sets its own, if it has one
	}
	return n, err
}

// Close implements net.Conn. It does not wait: a connection that is busy is closed when its reply has been
// sent. Lane.Wait waits for that.
func (c *conn) Close() error {
	for {
		switch s := c.state.Load(); s {
		case busy:
			if c.lane.closeLater(c) {
				return nil
			}
		case open:
			if c.state.CompareAndSwap(open, closed) {
				return c.TCPConn.Close()
			}
		default:
			return nil
		}
	}
}

// closeLater has a busy connection closed when its reply is sent; false: it is not busy any more.
func (l *Lane) closeLater(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.state.CompareAndSwap(busy, closing) {
		return false
	}
	l.closing[c] = struct{}{}
	return true
}

// done ends being busy; false: the connection is closed.
func (c *conn) done() bool {
	if c.state.CompareAndSwap(busy, open) {
		return true
	}
	c.lane.closeNow(c)
	return false
}

// closeNow closes a connection that was to be closed when its reply is sent.
func (l *Lane) closeNow(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state.Store(closed)
	_ = c.TCPConn.Close()
	delete(l.closing, c)
	if len(l.closing) == 0 && l.drained != nil {
		close(l.drained)
		l.drained = nil
	}
}

// outcome is what became of bytes that begin a request.
type outcome int

const (
	notMine  outcome = iota // nothing was done; the bytes are the server's
	answered                // the request was carried out, or failed, and was answered
	ended                   // there is no connection to answer on any more
)

// answer answers the request if it is a plain one and the Face takes it.
func (c *conn) answer(raw []byte) (result outcome) {
	request, ok := readPlain(raw)
	if !ok || !c.allows(request.host) {
		return notMine
	}
	if !c.state.CompareAndSwap(open, busy) {
		return ended
	}
	defer func() { // also when the Face panics: net/http then closes the connection
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
		c.until = now.Add(slack)
		// A connection without deadlines is closed by the server in the end.
		_ = c.SetReadDeadline(c.until.Add(idleTimeout))
		_ = c.SetWriteDeadline(c.until.Add(writeTimeout))
	}
	if c.face == nil {
		c.face = c.lane.options.Face(c.RemoteAddr())
	}
	var reply Reply
	var mine bool
	if request.id == nil {
		reply, mine = c.face.Lookup(request.service, request.match)
	} else {
		reply, mine = c.face.Heartbeat(request.service, request.id)
	}
	if !mine {
		return notMine
	}
	c.lane.answered.Add(1)
	err := c.send(reply, now)
	if c.lane.options.Observe != nil {
		c.lane.options.Observe(request.id != nil, reply.Status, time.Since(now))
	}
	if err != nil {
		return ended // a part of the reply may have been sent: nothing can follow it
	}
	return answered
}

// copyUpTo is how long a body may be to be copied behind its headers: a longer one is cheaper to send from
// where it is, and every connection keeps its buffer.
const copyUpTo = 2 << 10

// send sends the reply with its headers in the order in which net/http writes them: by name, then Date.
func (c *conn) send(r Reply, now time.Time) error {
	b := append(c.reply[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(append(b, ' '), http.StatusText(r.Status)...)
	if r.Status != http.StatusNotModified {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	}
	b = appendHeader(b, "\r\nContent-Type: ", r.Type)
	b = appendHeader(b, "\r\nEtag: ", r.ETag)
	b = appendHeader(b, "\r\nRetry-After: ", r.RetryAfter)
	b = appendHeader(b, "\r\nRollcall-Position: ", r.Position)
	b = appendHeader(b, "\r\nX-Request-Id: ", r.RequestID)
	b = append(append(b, "\r\nDate: "...), c.lane.date.at(now)...)
	c.reply = append(b, "\r\n\r\n"...)
	var err error
	if len(r.Body) <= copyUpTo {
		c.reply = append(c.reply, r.Body...)
		_, err = c.TCPConn.Write(c.reply)
	} else {
		buffers := net.Buffers{c.reply, r.Body}
		_, err = buffers.WriteTo(c.TCPConn)
	}
	return err
}

func appendHeader[T string | []byte](b []byte, name string, value T) []byte {
	if len(value) == 0 {
		return b
	}
	return append(append(b, name...), value...)
}
