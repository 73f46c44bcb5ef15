package httpapi

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// The lane answers heartbeats straight from the connection. Most of what a heartbeat costs a server is
// HTTP for everyone: headers put into maps, a goroutine that watches for the client to go, a context.
// A heartbeat in its plainest form needs none of it. Whatever is not exactly that, in any way, goes to
// the HTTP server as it came, which answers the same heartbeat with the same reply (see ADR 017).
//
// A lane connection is the HTTP server's connection; the lane is in its Read. When the server waits for
// the next request, the connection looks at what has come, answers heartbeats itself, and returns to
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

// LaneHeartbeats is how many heartbeats the lane has answered.
func (a *API) LaneHeartbeats() int64 { return a.api.inLane.Load() }

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
	busy    chan struct{} // holds a token while a heartbeat is carried out, so that Close waits for its reply
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
	for {
		n, err := c.TCPConn.Read(p)
		if err != nil || !c.between || len(p) < c.whole || !c.heartbeat(p[:n]) {
			c.between = false
			return n, err
		}
	}
}

// Close implements net.Conn. It lets a heartbeat be answered first that is being carried out.
func (c *laneConn) Close() (err error) {
	c.close.Do(func() {
		t := time.NewTimer(laneWrite)
		defer t.Stop()
		select {
		case c.busy <- struct{}{}: // it stays there: no heartbeat comes after
		case <-t.C:
		}
		err = c.TCPConn.Close()
	})
	return err
}

// heartbeat answers the request if it is a plain heartbeat, and nothing about it is out of the ordinary.
func (c *laneConn) heartbeat(request []byte) bool {
	service, id, ok := plainHeartbeat(request)
	if !ok || !c.api.calm() || !c.api.beats.tryEnter() {
		return false
	}
	defer c.api.beats.leave()
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
	if c.beats == nil {
		c.beats = c.api.Commands.Heartbeats(commands.Caller{Actor: domain.Anonymous, Source: sourceOf(c.RemoteAddr().String()), Via: viaHTTP})
	}
	key := domain.Key{Namespace: domain.DefaultNamespace, Service: string(service), ID: string(id)}
	result, known := c.beats.TrySend(context.Background(), domain.SendHeartbeat{Key: key})
	if !known || result.Err != nil { // the server finds the same, and has the words for it
		return false
	}
	c.body = appendResult(c.body[:0], key, result)
	b := append(c.reply[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRollcall-Position: "...)
	b = strconv.AppendUint(b, uint64(max(result.Position, c.api.Registry.Position())), 10)
	b = append(b, "\r\nX-Request-Id: "...)
	b = c.api.requestIDs.append(b)
	b = append(b, "\r\nDate: "...)
	b = append(b, c.api.date.at(now)...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(c.body)), 10)
	b = append(b, "\r\n\r\n"...)
	c.reply = append(b, c.body...)
	_, _ = c.TCPConn.Write(c.reply) // the next read tells that the client is gone
	c.api.inLane.Add(1)
	return true
}

// calm says that replies need no warning.
func (a *api) calm() bool {
	on, _ := a.Registry.SelfPreservation()
	return !on && !a.Registry.Stale() && a.Registry.LagTime() <= tellLag
}

var (
	heartbeatStart = []byte("PUT /v1/services/")
	heartbeatMid   = []byte("/instances/")
	heartbeatEnd   = []byte("/heartbeat HTTP/1.1")
	lineEnd        = []byte("\r\n")
)

// plainHeartbeat reads a request that is a heartbeat in the default namespace with nothing beside it that
// could mean anything: no query, no body, and of headers only those that change nothing.
func plainHeartbeat(request []byte) (service, id []byte, ok bool) {
	line, rest, ok := bytes.Cut(request, lineEnd)
	path, isPut := bytes.CutPrefix(line, heartbeatStart)
	path, isBeat := bytes.CutSuffix(path, heartbeatEnd)
	service, id, isPath := bytes.Cut(path, heartbeatMid)
	if !ok || !isPut || !isBeat || !isPath || !plainName(service) || !plainName(id) {
		return nil, nil, false
	}
	hosts := 0
	for {
		if line, rest, ok = bytes.Cut(rest, lineEnd); !ok {
			return nil, nil, false
		}
		if len(line) == 0 {
			return service, id, len(rest) == 0 && hosts == 1
		}
		name, value, isHeader := bytes.Cut(line, []byte{':'})
		if !isHeader || !plainText(value) {
			return nil, nil, false
		}
		switch value = bytes.Trim(value, " "); {
		case bytes.EqualFold(name, []byte("host")):
			if hosts++; !plainHost(value) {
				return nil, nil, false
			}
		case bytes.EqualFold(name, []byte("content-length")):
			if string(value) != "0" {
				return nil, nil, false
			}
		case bytes.EqualFold(name, []byte("connection")):
			if !bytes.EqualFold(value, []byte("keep-alive")) {
				return nil, nil, false
			}
		case bytes.EqualFold(name, []byte("user-agent")), bytes.EqualFold(name, []byte("accept")), bytes.EqualFold(name, []byte("accept-encoding")),
			bytes.EqualFold(name, []byte("accept-language")), bytes.EqualFold(name, []byte("content-type")):
		default:
			return nil, nil, false
		}
	}
}

// plainName says whether the bytes can be a name as it stands in a path. Whether it is one that an
// instance has, the catalog knows.
func plainName(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == ':' || c == '-') {
			return false
		}
	}
	return len(b) > 0
}

func plainText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func plainHost(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == ':' || c == '-' || c == '[' || c == ']') {
			return false
		}
	}
	return len(b) > 0
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
