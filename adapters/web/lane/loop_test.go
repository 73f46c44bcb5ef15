//go:build linux

package lane_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

// looping is a registry whose heartbeats are echoed: by its Face, and by its Batch, which a test can hold up.
type looping struct {
	*registry
	sent   atomic.Int64 // heartbeats that a Batch sent
	padded atomic.Int64 // bytes by which each reply of a Batch is longer
	notOf  atomic.Value // string: the Batch leaves heartbeats of this id to the Face
	panics atomic.Bool  // the Batch does
	mu     sync.RWMutex // a test that holds it holds up all Batches
}

func startLooping(t *testing.T) *looping {
	t.Helper()
	l := &looping{}
	l.notOf.Store("")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{t: t, address: listener.Addr().String(), ended: make(chan error, 1)}
	r.lane = lane.New(lane.Options{
		Observe: func(kind lane.Kind, status int, _ time.Duration) {
			if (kind == lane.Registration) != (status == 201) {
				panic(fmt.Sprintf("a reply of %d is observed as kind %d", status, kind))
			}
		},
		Face:  func(net.Conn) lane.Face { return echoing{} },
		Batch: func() lane.Batch { return &echoes{of: l} },
	})
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.handled.Add(1)
		_, _ = io.WriteString(w, q.URL.Path)
	})
	r.Server = web.NewServer(handler, r.lane, slog.New(slog.DiscardHandler))
	go func() { r.ended <- r.Serve(listener) }()
	t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Shutdown(gone)
		if err := <-r.ended; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	l.registry = r
	return l
}

func echo(of lane.Subject, padding int64) lane.Reply {
	return lane.Reply{Status: 200, Type: "text/plain", Body: []byte(string(of.Service) + "/" + string(of.ID) + strings.Repeat(".", int(padding)))}
}

// echoing is a Face that answers with the name of the instance.
type echoing struct{ lane.Face }

func (echoing) Authorize(_, _ []byte) bool                   { return true }
func (echoing) Heartbeat(of lane.Subject) (lane.Reply, bool) { return echo(of, 0), true }
func (echoing) Register(of lane.Subject, body []byte) (lane.Reply, bool) {
	time.Sleep(time.Millisecond) // as a commit
	return lane.Reply{Status: 201, Type: "text/plain", Body: body}, true
}

// echoes is a Batch that answers as echoing does.
type echoes struct {
	of     *looping
	names  []lane.Subject
	bodies [][]byte // of registrations; nil: a heartbeat
}

func (b *echoes) Add(_ lane.Face, kind lane.Kind, of lane.Subject, body []byte) bool {
	if (kind == lane.Registration) != (len(body) > 0) {
		panic(fmt.Sprintf("kind %d with the body %q", kind, body))
	}
	b.names, b.bodies = append(b.names, of), append(b.bodies, body)
	return true
}

func (b *echoes) Send() {
	b.of.mu.RLock()
	defer b.of.mu.RUnlock()
	if b.of.panics.Load() {
		panic("a bug")
	}
	b.of.sent.Add(int64(len(b.names)))
}

func (b *echoes) Reply(i int) (lane.Reply, bool) {
	if body := b.bodies[i]; len(body) > 0 {
		return lane.Reply{Status: 201, Type: "text/plain", Body: body}, true
	}
	return echo(b.names[i], b.of.padded.Load()), string(b.names[i].ID) != b.of.notOf.Load()
}

func (b *echoes) Reset() { b.names, b.bodies = b.names[:0], b.bodies[:0] }

// client is a connection of a client.
type client struct {
	net.Conn
	*bufio.Reader
	t  *testing.T
	id string
}

func (c *client) say() {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, request("PUT", "/v1/services/s/instances/"+c.id+"/heartbeat")); err != nil {
		c.t.Error(err)
	}
}

// hears reads the reply to a heartbeat.
func (c *client) hears(padding int) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Error(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if want := "s/" + c.id + strings.Repeat(".", padding); err != nil || string(body) != want {
		c.t.Errorf("answered %.80q (%v), want %.80q", body, err, want)
	}
}

// member gives a connection in the loop.
func (l *looping) member(id string) *client {
	l.t.Helper()
	conn, reader := l.dial()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &client{conn, reader, l.t, id}
	l.until(func() bool {
		before := l.sent.Load()
		c.say()
		c.hearsAny()
		return l.sent.Load() > before
	})
	return c
}

// hearsAny reads a reply of the server or of the lane.
func (c *client) hearsAny() {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		c.t.Fatal(err)
	}
}

func (l *looping) until(holds func() bool) {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatal("it never holds")
		}
	}
}

func TestEachConnectionOfTheLoopGetsItsOwnReplies(t *testing.T) {
	l := startLooping(t)
	var clients []*client
	for i := range 40 {
		clients = append(clients, l.member(fmt.Sprint("i", i)))
	}
	var group sync.WaitGroup
	for _, c := range clients {
		group.Go(func() {
			for range 50 {
				c.say()
				c.hears(0)
			}
		})
	}
	group.Wait()
	if got := l.lane.Members(); got != 40 {
		t.Errorf("%d connections are in the loop", got)
	}
}

// Requests that a client sends without waiting are answered in their order, once each.
func TestRequestsThatComeBeforeTheReplyAreAnsweredInTheirOrder(t *testing.T) {
	l := startLooping(t)
	for range 20 {
		c := l.member("a")
		before, handled := l.sent.Load(), l.handled.Load()
		l.mu.Lock()
		c.say()
		time.Sleep(time.Millisecond) // most of the time the loop has read the first by then; either way must be right
		if _, err := io.WriteString(c.Conn, request("GET", "/other")+request("PUT", "/v1/services/s/instances/a/heartbeat")); err != nil {
			t.Fatal(err)
		}
		l.mu.Unlock()
		var paths []string
		for range 3 {
			resp, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			paths = append(paths, strings.TrimSuffix(strings.TrimPrefix(strings.Replace(string(body), "/v1/services/s/instances", "s", 1), "/"), "/heartbeat"))
		}
		if got := fmt.Sprint(paths); got != "[s/a other s/a]" {
			t.Fatalf("answered %s; %d by the loop, %d by the server", got, l.sent.Load()-before, l.handled.Load()-handled)
		}
		_ = c.Conn.Close()
	}
}

func TestAnotherRequestLeavesTheLoopAsItCame(t *testing.T) {
	l := startLooping(t)
	c := l.member("a")
	for cut := 1; cut < 20; cut += 6 {
		text := request("GET", fmt.Sprint("/other/", cut))
		for _, part := range []string{text[:cut], text[cut:]} {
			if _, err := io.WriteString(c.Conn, part); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		resp, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != fmt.Sprint("/other/", cut) {
			t.Fatalf("answered %q, %v", body, err)
		}
		before := l.sent.Load()
		l.until(func() bool { // it comes back
			c.say()
			c.hearsAny()
			return l.sent.Load() > before
		})
	}
}

// A heartbeat that the Batch leaves to the Face is answered by the Face. Other connections are not held up.
func TestAHeartbeatThatTheBatchDoesNotTakeIsTheFaces(t *testing.T) {
	l := startLooping(t)
	a, b := l.member("a"), l.member("b")
	l.notOf.Store("a")
	handled := l.handled.Load()
	for range 3 {
		a.say()
		b.say()
		a.hears(0)
		b.hears(0)
	}
	if got := l.handled.Load() - handled; got != 0 {
		t.Errorf("the server got %d", got)
	}
}

// A client that does not read its replies leaves the loop with what is unsent, and gets all of it later.
func TestAClientThatDoesNotReadHoldsUpNobody(t *testing.T) {
	l := startLooping(t)
	const padding, requests = 200 << 10, 100 // more than the kernel buffers
	slow, other := l.member("slow"), l.member("other")
	l.padded.Store(padding)
	var sending sync.WaitGroup
	sending.Go(func() {
		for range requests {
			slow.say()
		}
	})
	l.until(func() bool { return l.lane.Members() == 1 })
	for range 20 {
		other.say()
		other.hears(padding)
	}
	for i := range requests {
		resp, err := http.ReadResponse(slow.Reader, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(string(body), "s/slow") && !strings.HasSuffix(string(body), "/slow/heartbeat") {
			t.Fatalf("reply %d is %.40q (%v)", i, body, err)
		}
	}
	sending.Wait()
}

// A store that does not answer holds up heartbeats only, on however many connections.
func TestABatchThatDoesNotEndHoldsUpHeartbeatsOnly(t *testing.T) {
	l := startLooping(t)
	var waiting []*client
	for i := range 3 * runtime.GOMAXPROCS(0) {
		waiting = append(waiting, l.member(fmt.Sprint("i", i)))
	}
	other := l.member("other")
	l.mu.Lock()
	for i, c := range waiting {
		c.say()
		l.until(func() bool { return l.lane.InFlight() > i }) // each in a round of its own
	}
	if _, err := io.WriteString(other.Conn, request("GET", "/other")); err != nil {
		t.Fatal(err)
	}
	other.hearsAny()
	l.mu.Unlock()
	for _, c := range waiting {
		c.hears(0)
	}
}

func TestAStopWaitsForTheHeartbeatsOfTheLoop(t *testing.T) {
	l := startLooping(t)
	working, resting := l.member("working"), l.member("resting")
	l.mu.Lock()
	working.say()
	l.until(func() bool { return l.lane.InFlight() == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- l.Shutdown(context.Background()) }()
	if _, err := resting.Reader.ReadByte(); err != io.EOF {
		t.Errorf("a connection without a request ends with %v", err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("it stopped before the reply: %v", err)
	default:
	}
	l.mu.Unlock()
	working.hears(0)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := working.Reader.ReadByte(); err != io.EOF {
		t.Errorf("after the reply comes %v", err)
	}
	l.until(func() bool { return !l.lane.Loops() })
}

func TestTheLoopEndsWithItsLastConnection(t *testing.T) {
	l := startLooping(t)
	for range 3 {
		var clients []*client
		for i := range 5 {
			clients = append(clients, l.member(fmt.Sprint("i", i)))
		}
		for _, c := range clients {
			_ = c.Conn.Close()
		}
		l.until(func() bool { return !l.lane.Loops() })
	}
}

// A client that closes its half of the connection after a request gets the reply.
func TestAHalfClosedConnectionOfTheLoopGetsItsReply(t *testing.T) {
	l := startLooping(t)
	c := l.member("a")
	l.mu.Lock()
	c.say()
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	l.mu.Unlock()
	c.hears(0)
	if _, err := c.Reader.ReadByte(); err != io.EOF {
		t.Errorf("after the reply comes %v", err)
	}
}

func TestAPanicOfABatchEndsItsConnectionsOnly(t *testing.T) {
	l := startLooping(t)
	a, b := l.member("a"), l.member("b")
	l.panics.Store(true)
	a.say()
	if _, err := a.Reader.ReadByte(); err == nil {
		t.Error("it is answered")
	}
	l.panics.Store(false)
	b.say()
	b.hears(0)
}

// A connection that sends nothing for long leaves the loop, and has the deadline of every idle connection then.
func TestAnIdleConnectionLeavesTheLoop(t *testing.T) {
	l := startLooping(t)
	c := l.member("a")
	l.until(func() bool { return l.lane.InFlight() == 0 }) // a look passes over a member in flight
	l.lane.Sweep(time.Now().Add(time.Minute))
	if l.lane.Members() != 1 {
		t.Fatal("it left after a minute")
	}
	l.lane.Sweep(time.Now().Add(3 * time.Minute))
	l.until(func() bool { return l.lane.Members() == 0 })
	c.say()
	c.hears(0)
}
