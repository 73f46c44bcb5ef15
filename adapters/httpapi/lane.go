package httpapi

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

// The lane answers heartbeats and lookups straight from the connection. Most of what either costs a server
// is HTTP for everyone: headers put into maps, a goroutine that watches for the client to go, a context.
// In their plainest form they need none of it. Whatever is not exactly that, in any way, goes to the HTTP
// server as it came, which answers the same request with the same reply (see ADR 017).
//
// A lane connection is the HTTP server's connection; the lane is in its Read. When the server waits for
// the next request, the connection looks at what has come, answers plain requests itself, and returns to
// the server with the first other thing.

// Timeouts of a connection's lane. They are set anew now and then only, and so may be longer by laneSlack.
const (
	laneIdle  = 2 * time.Minute // without a request
	laneWrite = 30 * time.Second
	laneSlack = 30 * time.Second
)

// Listen wraps the listener of the http.Server that serves this API. The server must be given
// API.ConnState, too.
func (a *API) Listen(l net.Listener) net.Listener { return laneListener{l, a.api} }

// InLane is how many requests the lane has answered.
func (a *API) InLane() int64 { return a.api.inLane.Load() }

// ConnState is for http.Server: it tells the lane when the server waits for a connection's next request.
func (a *API) ConnState(c net.Conn, state http.ConnState) {
	if c, ok := c.(*laneConn); ok {
		c.between = state == http.StateIdle
		c.until = time.Time{} // the server has set its own deadlines since
	}
}

type laneListener struct {
	net.Listener
	api *api
}

func (l laneListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return &laneConn{TCPConn: tcp, api: l.api, busy: make(chan struct{}, 1)}, nil
	}
	return c, err
}

// laneConn is one connection. But for Close, the goroutine that serves it uses it, or one that
// goroutine waits for.
type laneConn struct {
	*net.TCPConn
	api *api

	between bool // the server has answered all it was given, and waits for the next request
	whole   int  // length of the server's read buffer
	beats   *commands.Heartbeats
	reply   []byte // these two are used again
	body    []byte
	until   time.Time     // the deadlines in force are later
	busy    chan struct{} // holds a token while a request is carried out, so that Close waits for its reply
	close   sync.Once
}

// Read implements net.Conn for the HTTP server.
//
// A server that waits for a request may hold its first bytes already, where the client did not wait for
// the reply before. It then reads into the rest of its buffer: only when it offers all of it is what
// comes the beginning of a request.
func (c *laneConn) Read(p []byte) (int, error) {
	if c.whole == 0 {
		c.whole = len(p)
	}
	if len(p) == 1 {
		// The server looks out for the client's going away while a request is worked on. A client that is
		// quick with its next request would have the first byte of it taken.
		return watch(c.TCPConn, p)
	}
	for {
		n, err := c.TCPConn.Read(p)
		if err != nil || !c.between || len(p) < c.whole || !c.answer(p[:n]) {
			if c.between = false; !c.until.IsZero() {
				c.until = time.Time{}
				_ = c.SetWriteDeadline(time.Time{}) // the server sets its own, if it has one
			}
			return n, err
		}
	}
}

// Close implements net.Conn. It lets a request be answered first that is being carried out.
func (c *laneConn) Close() (err error) {
	c.close.Do(func() {
		t := time.NewTimer(laneWrite)
		defer t.Stop()
		select {
		case c.busy <- struct{}{}: // it stays there: no request comes after
		case <-t.C:
		}
		err = c.TCPConn.Close()
	})
	return err
}

// answer answers the request if it is a plain one, and nothing about it is out of the ordinary.
func (c *laneConn) answer(raw []byte) bool {
	request, ok := readPlain(raw)
	if !ok || !c.api.calm() {
		return false
	}
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	default: // being closed
		return false
	}
	now := time.Now()
	if c.until.Sub(now) < 0 {
		c.until = now.Add(laneSlack)
		// A connection without deadlines is closed by the server in the end.
		_ = c.SetReadDeadline(c.until.Add(laneIdle))
		_ = c.SetWriteDeadline(c.until.Add(laneWrite))
	}
	if request.id == nil {
		return c.lookup(request, now)
	}
	return c.heartbeat(request, now)
}

func (c *laneConn) heartbeat(request plainRequest, now time.Time) bool {
	if !c.api.heartbeatTurns.tryEnter() {
		return false
	}
	defer c.api.heartbeatTurns.leave()
	if c.beats == nil {
		c.beats = c.api.Commands.Heartbeats(commands.Caller{Actor: domain.Anonymous, Source: sourceOf(c.RemoteAddr().String()), Via: viaHTTP})
	}
	key := domain.Key{Namespace: domain.DefaultNamespace, Service: string(request.service), ID: string(request.id)}
	result, known := c.beats.TrySend(context.Background(), domain.SendHeartbeat{Key: key})
	if !known || result.Err != nil { // the server finds the same, and has the words for it
		return false
	}
	c.body = appendResult(c.body[:0], key, result)
	c.begin("200 OK", max(result.Position, c.api.Queries.Position()), now)
	c.end(c.body)
	return true
}

func (c *laneConn) lookup(request plainRequest, now time.Time) bool {
	if !c.api.lookupTurns.tryEnter() {
		return false
	}
	defer c.api.lookupTurns.leave()
	position := c.api.Queries.Position()
	view := c.api.Queries.View(domain.ServiceKey{Namespace: domain.DefaultNamespace, Service: string(request.service)})
	if len(view.Entries) == 0 { // perhaps no legal name
		return false
	}
	list := queries.Instances(view, queries.InstanceFilter{}, nil)
	if unchanged := request.match != nil && matches(string(request.match), list.ETag); unchanged {
		c.begin("304 Not Modified", position, now)
		c.tag(list.ETag)
		c.reply = append(c.reply, "\r\n"...)
		c.write(nil)
		return true
	}
	c.begin("200 OK", position, now)
	c.tag(list.ETag)
	c.end(list.Bytes)
	return true
}

// begin begins the reply with the headers that every reply has.
func (c *laneConn) begin(status string, position eventstore.Position, now time.Time) {
	b := append(append(c.reply[:0], "HTTP/1.1 "...), status...)
	b = append(b, "\r\nRollcall-Position: "...)
	b = strconv.AppendUint(b, uint64(position), 10)
	b = append(b, "\r\nX-Request-Id: "...)
	b = c.api.requestIDs.Append(b)
	b = append(b, "\r\nDate: "...)
	b = append(b, c.api.date.at(now)...)
	c.reply = append(b, "\r\n"...)
}

func (c *laneConn) tag(etag string) {
	c.reply = append(append(append(c.reply, "Etag: "...), etag...), "\r\n"...)
}

// end ends the reply with a body and sends it.
func (c *laneConn) end(body []byte) {
	b := append(c.reply, "Content-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	c.reply = append(b, "\r\n\r\n"...)
	c.write(body)
}

// copyUpTo is how long a body may be to be copied behind its headers: a longer one is cheaper to send from
// where it is, and every connection keeps its buffer.
const copyUpTo = 2 << 10

// write sends the reply. If the client is gone, the next read tells.
func (c *laneConn) write(body []byte) {
	c.api.inLane.Add(1)
	if len(body) <= copyUpTo {
		c.reply = append(c.reply, body...)
		_, _ = c.TCPConn.Write(c.reply)
		return
	}
	buffers := net.Buffers{c.reply, body}
	_, _ = buffers.WriteTo(c.TCPConn)
}

// calm says that replies need no warning.
func (a *api) calm() bool {
	lag, stale := a.Queries.Lag()
	return !a.Queries.SelfPreserving(domain.DefaultNamespace) && !stale && lag <= tellLag
}
