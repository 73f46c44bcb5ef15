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

// starting answers on the registry's listener while the registry's parts are opened. That takes as long as the event store
// is unavailable. /healthz says that the process lives, /readyz says why the registry is not ready, and every other
// request gets a problem. A connection is closed after its reply, so that the next request reaches the registry itself.
//
// Requests wait for a short start without a reply. When such a start is over, their connections are closed without a
// reply, as if the server had not listened yet, so that clients try again at once.
type starting struct {
	listener *pausable
	server   *web.Server
	served   sync.WaitGroup
	doing    atomic.Pointer[step]
	over     chan struct{} // closed when the start is over
}

// soon is how long requests wait for the end of the start before they get a problem.
const soon = 2 * time.Second

// step is a step of the start. cause gives the cause of a delay, and may be nil.
type step struct {
	what  string
	cause func() error
}

func startListening(address string, secure *tls.Config, connections *web.Proxies, logger *slog.Logger) (*starting, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &starting{listener: &pausable{TCPListener: listener.(*net.TCPListener)}, over: make(chan struct{})}
	s.at("the registry is being opened", nil)
	s.server = web.NewServer(s, nil, logger)
	s.server.TLS, s.server.ProxyProtocol = secure, connections
	s.served.Go(func() { _ = s.server.Serve(s.listener) }) // stop ends the goroutine
	return s, nil
}

// at sets the step of the start.
func (s *starting) at(what string, cause func() error) { s.doing.Store(&step{what, cause}) }

// why is the text of /readyz.
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

// stop stops the server, waits for the replies that are being sent, and returns the listener for the registry.
func (s *starting) stop() (net.Listener, error) {
	close(s.over)
	draining, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.server.Shutdown(draining) // the connections of requests that are still being received are closed without a reply
	s.served.Wait()
	return s.listener.TCPListener, s.listener.SetDeadline(time.Time{})
}

// abandon stops the server and closes the listener.
func (s *starting) abandon() {
	if l, err := s.stop(); err == nil {
		_ = l.Close() // the process ends
	}
}

// pausable is a listener on which Close ends Accept and keeps the socket open: new connections wait in the kernel.
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
