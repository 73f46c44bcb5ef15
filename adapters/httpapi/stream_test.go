package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// subscribe opens a stream on a connection of its own.
func subscribe(t *testing.T, url string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// Each of many subscribers of a service is told of each change once and in order, also one that does not read for a while.
func TestManySubscribersAreToldOfEachChangeInOrder(t *testing.T) {
	s := start(t)
	const subscribers, slow, changes = 18, 2, 70
	ballast := strings.Repeat("x", 4000) // four of these in an event fill the buffers of a connection soon
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := web.NewServer(s.api, s.api.Lane(), slog.New(slog.DiscardHandler)) // the kernel's buffers are bounded as in the product
	served := make(chan error, 1)
	go func() { served <- bounded.Serve(listener) }()
	defer func() {
		s.stop()
		if err := errors.Join(bounded.Shutdown(context.Background()), <-served); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	reading := make(chan struct{}) // closed when the slow subscribers read
	begun := make(chan struct{}, subscribers)
	var group sync.WaitGroup
	for i := range subscribers {
		resp := subscribe(t, "http://"+listener.Addr().String()+"/v1/streams/services/web")
		group.Go(func() {
			seen := 0
			for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: 1 << 20}) {
				switch {
				case err != nil:
					t.Errorf("subscriber %d after %d changes: %v", i, seen, err)
					return
				case e.Type == "snapshot":
					begun <- struct{}{}
					if i < slow {
						<-reading
					}
					continue
				case !strings.Contains(e.Data, fmt.Sprintf(`"version":"%d"`, seen)):
					t.Errorf("subscriber %d was told %.200s after %d changes", i, e.Data, seen)
					return
				}
				if seen++; seen == changes {
					return
				}
			}
		})
	}
	for range subscribers {
		<-begun
	}
	for i := range changes {
		body := fmt.Sprintf(`{"address":"10.0.0.5","version":"%d","metadata":{"a":%q,"b":%q,"c":%q,"d":%q}}`, i, ballast, ballast, ballast, ballast)
		if got := s.send("PUT", "/v1/services/web/instances/a", body); got.StatusCode > 201 {
			t.Fatalf("%d: %s", got.StatusCode, got.body)
		}
	}
	close(reading)
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		t.Fatal("a subscriber still waits")
	}
}

// Nothing is sent to any of many streams after their token was revoked.
func TestManyStreamsEndWithTheirToken(t *testing.T) {
	g := startGuarded(t)
	writer := g.token("writer", domain.TokenSpec{Roles: []string{"operator"}})
	reader := g.token("reader", domain.TokenSpec{Roles: []string{"reader"}})
	var group sync.WaitGroup
	const subscribers = 24
	begun, told := make(chan struct{}, subscribers), make(chan struct{}, subscribers)
	for range subscribers {
		resp := subscribe(t, g.URL+"/v1/streams/services/checkout", reader...)
		group.Go(func() {
			for e, err := range sse.Read(resp.Body, nil) {
				switch {
				case err != nil:
					return // the stream ends within the body
				case e.Type == "snapshot":
					begun <- struct{}{}
				case strings.Contains(e.Data, "10.0.0.5"):
					told <- struct{}{}
				default:
					t.Errorf("after the revocation came %s", e.Data)
				}
			}
		})
	}
	for range subscribers {
		<-begun
	}
	g.send("PUT", "/v1/services/checkout/instances/a", `{"address":"10.0.0.5"}`, writer...).want(t, 201)
	for range subscribers {
		<-told
	}
	if err := g.commands.Do(t.Context(), commands.Caller{}, domain.RevokeToken{Name: "reader"}); err != nil {
		t.Fatal(err)
	}
	g.send("PUT", "/v1/services/checkout/instances/a", `{"address":"10.0.0.77"}`, writer...).want(t, 200)
	group.Wait()
}
