package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// starting answers on the registry's listener while its parts are opened, which may take as long as the event
// store is away: that the process lives, why it is not ready, and a problem for everything else. Its connections
// are closed after each reply, so that the next request reaches the registry itself.
//
// A start that is over soon is no problem for anybody: requests wait that long, and their connections are then
// closed without a reply, as if nobody had listened yet, so that clients come back at once.
type starting struct {
	listener *pausable
	server   *web.Server
	served   sync.WaitGroup
	doing    atomic.Pointer[step]
	over     chan struct{} // closed when the start is over
}

// soon is how long a start may take before requests get a problem.
const soon = 2 * time.Second

// step is what the start is at, and what holds it up; cause may be nil.
type step struct {
	what  string
	cause func() error
}

func startListening(address string, secure *tls.Config, logger *slog.Logger) (*starting, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &starting{listener: &pausable{TCPListener: listener.(*net.TCPListener)}, over: make(chan struct{})}
	s.at("the registry is being opened", nil)
	s.server = web.NewServer(s, nil, logger)
	s.server.TLS = secure
	s.served.Go(func() { _ = s.server.Serve(s.listener) }) // it ends with stop
	return s, nil
}

// at says what the start is at.
func (s *starting) at(what string, cause func() error) { s.doing.Store(&step{what, cause}) }

// why is what /readyz says.
func (s *starting) why() string {
	now := s.doing.Load()
	if now.cause != nil {
		if err := now.cause(); err != nil {
			return fmt.Sprintf("%s: %v", now.what, err)
		}
	}
	return now.what
}

// ServeHTTP implements http.Handler.
func (s *starting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if reads && r.URL.Path == "/healthz" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"ok"}`)) // the client may be gone
		return
	}
	if r.URL.Path != "/readyz" {
		select {
		case <-s.over:
		case <-r.Context().Done():
		case <-time.After(soon):
		}
		// A browser's event stream gives up for good at any status that is not 200.
		if stream := strings.Contains(r.Header.Get("Accept"), "text/event-stream"); stream || s.isOver() {
			panic(http.ErrAbortHandler)
		}
	}
	body, err := json.Marshal(web.NewProblem(http.StatusServiceUnavailable, "not-ready", "The registry is starting", s.why()))
	if err != nil {
		body = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(body) // the client may be gone
}

func (s *starting) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// stop ends the answers, lets those under way end, and gives the listener on.
func (s *starting) stop() (net.Listener, error) {
	close(s.over)
	draining, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.server.Shutdown(draining) // requests that are still being sent are cut off; they were told nothing
	s.served.Wait()
	return s.listener.TCPListener, s.listener.SetDeadline(time.Time{})
}

// abandon ends the answers and listens no more.
func (s *starting) abandon() {
	if l, err := s.stop(); err == nil {
		_ = l.Close() // the process ends
	}
}

// pausable is a listener that a server can close without closing it: connections that come meanwhile wait.
type pausable struct {
	*net.TCPListener
	paused atomic.Bool
}

// Accept implements net.Listener.
func (p *pausable) Accept() (net.Conn, error) {
	c, err := p.TCPListener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) && p.paused.Load() {
		return nil, net.ErrClosed
	}
	return c, err
}

// Close implements net.Listener.
func (p *pausable) Close() error {
	p.paused.Store(true)
	return p.SetDeadline(time.Unix(1, 0)) // long ago
}
