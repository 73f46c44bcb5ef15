package web_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// pipes is a listener in memory.
type pipes struct {
	accept chan net.Conn // closed by Close
}

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.accept; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error {
	close(p.accept)
	return nil
}

func (p pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// ask sends a request on a connection of its own.
func (p pipes) ask(t *testing.T, path string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.accept <- server
	if _, err := io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return client
}

// stopping is a server whose replies are large and whose requests to /slow take some time, and what its log says.
func stopping(t *testing.T, slow time.Duration) (s *web.Server, l pipes, logged *strings.Builder) {
	logged = &strings.Builder{}
	handler := http.NewServeMux()
	handler.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 1<<20))
	})
	handler.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(slow):
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	})
	s = web.NewServer(handler, nil, slog.New(slog.NewTextHandler(logged, nil)))
	l = pipes{make(chan net.Conn)}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s, l, logged
}

// Readers that never read are cut off after 5 s, and that is no failure. A request that is worked on is answered.
func TestAStopWaitsForWorkButNotForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, logged := stopping(t, 8*time.Second)
		for range 3 {
			defer l.ask(t, "/large").Close()
		}
		worked := l.ask(t, "/slow")
		defer worked.Close()
		answered := make(chan string, 1)
		go func() {
			resp, err := http.ReadResponse(bufio.NewReader(worked), nil)
			if err != nil {
				answered <- err.Error()
				return
			}
			body, _ := io.ReadAll(resp.Body)
			answered <- string(body)
		}()
		synctest.Wait()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 8*time.Second || took > 9*time.Second {
			t.Errorf("the stop took %s, want what the work takes", took)
		}
		if got := <-answered; got != "done" {
			t.Errorf("the request that was worked on got %q", got)
		}
		if !strings.Contains(logged.String(), "clients that do not read") {
			t.Errorf("the log says %q", logged)
		}
	})
}

func TestAStopTakesFiveSecondsBesideReadersThatNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, _ := stopping(t, 0)
		for range 3 {
			defer l.ask(t, "/large").Close()
		}
		synctest.Wait()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the stop took %s", took)
		}
	})
}

func TestAStopEndsWithRequestsThatTakeTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, logged := stopping(t, time.Minute)
		defer l.ask(t, "/slow").Close()
		synctest.Wait()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 15*time.Second || took > 16*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if !strings.Contains(logged.String(), "took too long were cut off") {
			t.Errorf("the log says %q", logged)
		}
	})
}

func TestAStopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, _ := stopping(t, time.Minute)
		defer l.ask(t, "/slow").Close()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
