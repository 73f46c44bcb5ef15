package lane_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

// face answers as a test says.
type face struct {
	heartbeat, lookup func() (lane.Reply, bool)
}

func (f face) Authorize(_, _ []byte) bool                                    { return true }
func (f face) Heartbeat(_ lane.Subject) (lane.Reply, bool)                   { return f.heartbeat() }
func (f face) Register(_ lane.Subject, _ []byte) (lane.Reply, bool)          { return f.heartbeat() }
func (f face) Heartbeats(_, _, _ []byte, _ bool) (lane.Reply, bool)          { return f.heartbeat() }
func (f face) Lookup(_ lane.Subject, _ bool, _, _ []byte) (lane.Reply, bool) { return f.lookup() }
func (f face) History(_ lane.Subject, _, _, _ []byte) (lane.Reply, bool)     { return f.lookup() }

// registry is a server with a lane. Its handler counts what it gets.
type registry struct {
	*web.Server
	t       *testing.T
	lane    *lane.Lane
	address string
	handled atomic.Int64
	ended   chan error // gets one value, when Serve returns
}

func start(t *testing.T, f face) *registry {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{t: t, address: l.Addr().String(), ended: make(chan error, 1)}
	r.lane = lane.New(lane.Options{
		Face: func(net.Conn) lane.Face { return f },
		Host: func(host []byte) bool { return string(host) == "x" },
	})
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.handled.Add(1)
		_, _ = io.WriteString(w, q.Host)
	})
	r.Server = web.NewServer(handler, r.lane, slog.New(slog.DiscardHandler))
	go func() { r.ended <- r.Serve(l) }()
	t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Shutdown(gone) // a test may have shut it down
		if err := <-r.ended; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return r
}

// dial is a connection on which the server has answered a request and waits for the next.
func (r *registry) dial() (net.Conn, *bufio.Reader) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	reader := bufio.NewReader(c)
	if got := r.ask(c, reader, request("GET", "/")); got != 200 {
		r.t.Fatalf("the first request is answered with %d", got)
	}
	return c, reader
}

// ask gives the status of the reply; 0: there is none.
func (r *registry) ask(c net.Conn, reader *bufio.Reader, text string) int {
	r.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// untilLane sends a request until the lane has taken it, for the server may not be back from its last reply.
func (r *registry) untilLane(c net.Conn, reader *bufio.Reader, text string) int {
	r.t.Helper()
	for range 1000 {
		before := r.lane.Answered()
		if status := r.ask(c, reader, text); r.lane.Answered() > before || status == 0 {
			return status
		}
	}
	r.t.Fatal("the lane takes nothing")
	return 0
}

func TestARequestThatFailedIsNotCarriedOutAgain(t *testing.T) {
	var tried atomic.Int64
	r := start(t, face{heartbeat: func() (lane.Reply, bool) {
		tried.Add(1)
		return lane.Reply{Status: 503, Type: "text/plain", Body: []byte("no")}, true
	}})
	c, reader := r.dial()
	if got := r.untilLane(c, reader, request("PUT", beatA1)); got != 503 {
		t.Errorf("answered %d", got)
	}
	handled := r.handled.Load()
	if got := r.ask(c, reader, request("PUT", beatA1)); got != 503 || r.handled.Load() != handled || tried.Load() != 2 {
		t.Errorf("answered %d, tried %d times, the server got %d more", got, tried.Load(), r.handled.Load()-handled)
	}
}

func TestWhatTheFaceDoesNotTakeIsTheServers(t *testing.T) {
	var asked atomic.Int64
	r := start(t, face{lookup: func() (lane.Reply, bool) {
		asked.Add(1)
		return lane.Reply{}, false
	}})
	c, reader := r.dial()
	for n := int64(1); asked.Load() == 0; n++ {
		if got := r.ask(c, reader, request("GET", lookup)); got != 200 || r.handled.Load() != n+1 {
			t.Fatalf("request %d is answered with %d, the server got %d", n, got, r.handled.Load()-1)
		}
	}
}

// A request for another host gets its refusal from the server.
func TestTheLaneAnswersToItsHostsOnly(t *testing.T) {
	r := start(t, face{lookup: func() (lane.Reply, bool) { return lane.Reply{Status: 200}, true }})
	c, reader := r.dial()
	r.untilLane(c, reader, request("GET", lookup))
	for range 3 {
		before := r.lane.Answered()
		if got := r.ask(c, reader, "GET "+lookup+" HTTP/1.1\r\nHost: evil.example\r\n\r\n"); got != 200 || r.lane.Answered() != before {
			t.Errorf("answered %d; the lane took %d", got, r.lane.Answered()-before)
		}
	}
}

// A server that stops lets a request in the lane be answered.
func TestAStopWaitsForTheLane(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	r := start(t, face{heartbeat: func() (lane.Reply, bool) {
		close(begun)
		<-end
		return lane.Reply{Status: 200}, true
	}})
	c, reader := r.dial()
	answered := make(chan int, 1)
	go func() { answered <- r.untilLane(c, reader, request("PUT", beatA1)) }()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- r.Shutdown(context.Background()) }()
	select {
	case err := <-stopped:
		t.Fatalf("it stopped before the reply: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	if got := <-answered; got != 200 {
		t.Errorf("answered %d", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Clients that do not read their replies hold up a stop no longer than it may take, however many they are.
func TestAStopDoesNotWaitForUnreadReplies(t *testing.T) {
	begun := make(chan struct{})
	r := start(t, face{
		lookup: func() (lane.Reply, bool) { return lane.Reply{Status: 200}, true },
		heartbeat: func() (lane.Reply, bool) {
			begun <- struct{}{}
			return lane.Reply{Status: 200, Body: make([]byte, 64<<20)}, true
		},
	})
	for range 4 {
		c, reader := r.dial()
		r.untilLane(c, reader, request("GET", lookup))
		if _, err := io.WriteString(c, request("PUT", beatA1)); err != nil {
			t.Fatal(err)
		}
		<-begun
	}
	soon, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := r.Shutdown(soon); err == nil {
		t.Error("nothing was cut off")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAPanicOfAFaceEndsItsConnectionOnly(t *testing.T) {
	r := start(t, face{
		heartbeat: func() (lane.Reply, bool) { panic("a bug") },
		lookup:    func() (lane.Reply, bool) { return lane.Reply{Status: 200}, true },
	})
	c, reader := r.dial()
	if got := r.untilLane(c, reader, request("PUT", beatA1)); got != 0 {
		t.Errorf("answered %d", got)
	}
	c, reader = r.dial()
	if got := r.untilLane(c, reader, request("GET", lookup)); got != 200 {
		t.Errorf("another connection is answered with %d", got)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
