package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// refusing is an address at which nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// several is a client of nodes, each of which answers with a handler, or refuses connections if there is none. Each
// request's node is in asked.
func several(t *testing.T, handlers ...http.HandlerFunc) (c *client.Client, asked func() string) {
	t.Helper()
	var mu sync.Mutex
	var came strings.Builder
	var urls []string
	for i, h := range handlers {
		if h == nil {
			urls = append(urls, refusing(t))
			continue
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			fmt.Fprint(&came, i)
			mu.Unlock()
			h(w, r)
		}))
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	c, err := client.New(strings.Join(urls, ","), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() string {
		mu.Lock()
		defer mu.Unlock()
		defer came.Reset()
		return came.String()
	}
}

func fine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Rollcall-Position", "7")
	_, _ = io.WriteString(w, `{"namespace":"default","service":"web","id":"a","position":"7","revision":1,"epoch":1,"node":"n1","succeeded":[{"index":0}],"failed":[]}`)
}

// hangsUp reads the request and closes the connection without a reply.
func hangsUp(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// refuses answers with a problem of a kind.
func refuses(status int, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"urn:rollcall:problem:%s","status":%d,"detail":"it is %s"}`, kind, status, kind)
	}
}

func register(ctx context.Context, c *client.Client) error {
	_, err := c.Register(ctx, key, domain.Details{Address: "10.0.0.1"})
	return err
}

// moveLead is a command that takes no key.
func moveLead(ctx context.Context, c *client.Client) error {
	_, err := c.MoveLead(ctx, "n1")
	return err
}

func lookUp(ctx context.Context, c *client.Client) error {
	_, err := c.Services(ctx, "", "")
	return err
}

func beat(ctx context.Context, c *client.Client) error {
	_, err := c.Heartbeat(ctx, key)
	return err
}

func TestARequestGoesOnToAnotherNodeWhereThatIsSafe(t *testing.T) {
	for name, one := range map[string]struct {
		first http.HandlerFunc
		do    func(context.Context, *client.Client) error
		asked string // the nodes
		fails string // how the error ends; "": there is none
	}{
		"a read where nobody listens":                         {nil, lookUp, "1", ""},
		"a command where nobody listens":                      {nil, register, "1", ""},
		"a read without an answer":                            {hangsUp, lookUp, "01", ""},
		"a heartbeat without an answer":                       {hangsUp, beat, "01", ""},
		"a command without an answer":                         {hangsUp, moveLead, "0", "the command may have been carried out"},
		"a command with a key without an answer":              {hangsUp, register, "01", ""},
		"a command, and the node has no leader":               {refuses(503, "no-leader"), register, "01", ""},
		"a command, and the node starts":                      {refuses(503, "not-ready"), register, "01", ""},
		"a command, and the disk is full":                     {refuses(507, "disk-full"), register, "01", ""},
		"a command, and the node does not know the outcome":   {refuses(503, "timeout"), moveLead, "0", "it is timeout"},
		"a command with a key of unknown outcome":             {refuses(503, "timeout"), register, "01", ""},
		"a heartbeat, and the node does not know the outcome": {refuses(503, "timeout"), beat, "01", ""},
		"a read, and the node is behind":                      {refuses(504, "projection-behind"), lookUp, "01", ""},
		"a read, and a proxy says that the node is away":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, lookUp, "01", ""},
		"a command, and a proxy says that the node is away":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, moveLead, "0", "502 Bad Gateway; the command may have been carried out"},
		"a read, and the node is overloaded":                  {refuses(503, "overloaded"), lookUp, "0", "it is overloaded"},
		"a read that is refused":                              {refuses(404, "unknown-service"), lookUp, "0", "it is unknown-service"},
		"a read of another server":                            {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, lookUp, "01", ""},
		"a command that another server gets":                  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, moveLead, "0", "418 I'm a teapot"},
	} {
		t.Run(name, func(t *testing.T) {
			c, asked := several(t, one.first, fine)
			err := one.do(t.Context(), c)
			if got := asked(); got != one.asked || (err == nil) != (one.fails == "") || err != nil && !strings.HasSuffix(err.Error(), one.fails) {
				t.Errorf("nodes %s were asked, %v; want nodes %s, %q", got, err, one.asked, one.fails)
			}
		})
	}
}

func TestRequestsStayAtTheNodeThatAnswers(t *testing.T) {
	c, asked := several(t, nil, fine, fine)
	for range 5 {
		if err := lookUp(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked(); got != "11111" && got != "22222" {
		t.Errorf("nodes %s were asked", got)
	}
}

// A node that does not answer a command is left, even though the command is not sent again.
func TestTheNextRequestLeavesANodeThatGaveNoAnswer(t *testing.T) {
	c, asked := several(t, hangsUp, fine)
	var silent *client.Unreachable
	if err := moveLead(t.Context(), c); !errors.As(err, &silent) || !silent.Unknown {
		t.Errorf("the first command: %v", err)
	}
	if err := moveLead(t.Context(), c); err != nil || asked() != "01" {
		t.Errorf("the second command: %v", err)
	}
}

func TestNodesOfWhichNoneAnswersAreNamed(t *testing.T) {
	c, _ := several(t, nil, nil)
	err := register(t.Context(), c)
	var silent *client.Unreachable
	if !errors.As(err, &silent) || silent.Unknown || strings.Count(err.Error(), "http://") != 2 || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

func TestNodesAreNamedOnce(t *testing.T) {
	for _, urls := range []string{"http://a,", ",http://a", "http://a,b", "http://a,http://a/", "http://a,,http://b"} {
		if _, err := client.New(urls, client.Options{}); !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("%q: %v", urls, err)
		}
	}
}

// byHost sends the requests of each host to a transport of its own.
type byHost map[string]http.RoundTripper

func (h byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return h[r.URL.Host].RoundTrip(r)
}

// swallows is a node that never answers.
type swallows struct{ asked int }

func (s *swallows) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestANodeThatSwallowsReadsHasOnlyItsShareOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, other := &swallows{}, &script{steps: []step{{status: 200, body: `{"services":[]}`}}}
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": silent, "b": other}, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := lookUp(t.Context(), c); err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if err := lookUp(t.Context(), c); err != nil || silent.asked != 1 {
			t.Errorf("%v; the silent node was asked %d times", err, silent.asked)
		}
	})
}

// A command without a key may have reached a node that swallows it, so that it has all of its time, and is not sent again. A
// command with a key goes on to the other node.
func TestANodeThatSwallowsACommandKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": &swallows{}, "b": &swallows{}}, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var silent *client.Unreachable
		if err := moveLead(t.Context(), c); !errors.As(err, &silent) || !silent.Unknown || silent.URL != "http://a" || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if c, err = client.New("http://a,http://b", client.Options{Transport: byHost{"a": &swallows{}, "b": &script{steps: []step{{status: 200, body: `{"namespace":"default","service":"web","id":"a","position":"7","revision":1,"epoch":1}`}}}}, Timeout: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if err := register(t.Context(), c); err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("with a key, after %v: %v", time.Since(began), err)
		}
	})
}

func TestACommandWaitsForALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := step{status: 503, body: `{"type":"urn:rollcall:problem:no-leader","status":503,"detail":"no leader"}`}
		done := step{status: 200, body: `{"namespace":"default","service":"web","id":"a","position":"7","revision":1,"epoch":1}`}
		a, b := &script{steps: []step{none, none, done}}, &script{steps: []step{none, none, done}}
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": a, "b": b}})
		if err != nil {
			t.Fatal(err)
		}
		if err := register(t.Context(), c); err != nil || len(a.asked)+len(b.asked) != 5 {
			t.Errorf("%v after %d attempts", err, len(a.asked)+len(b.asked))
		}
		never := &script{steps: []step{none}}
		if c, err = client.New("http://a,http://b", client.Options{Transport: byHost{"a": never, "b": never}}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var said *wire.Problem
		if err := register(t.Context(), c); !errors.As(err, &said) || said.Kind() != "no-leader" || time.Since(began) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// A command with a key of which a node does not say what became of it, and which no other node takes, is of unknown outcome.
func TestACommandThatOneNodeMayHaveCarriedOutIsOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := step{status: 503, body: `{"type":"urn:rollcall:problem:no-leader","status":503,"detail":"no leader"}`}
		broken := step{status: 503, body: `{"type":"urn:rollcall:problem:timeout","status":503,"detail":"too late"}`}
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": &script{steps: []step{broken, none}}, "b": &script{steps: []step{none}}}})
		if err != nil {
			t.Fatal(err)
		}
		var silent *client.Unreachable
		if err := register(t.Context(), c); !errors.As(err, &silent) || !silent.Unknown {
			t.Errorf("it is said: %v", err)
		}
	})
}

func TestACopyOfTheCatalogGoesOnAtAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &script{steps: []step{saysAndEnds(snapshot(5, "x"), put(6, "y")), {err: errors.New("connection refused")}}}
		b := &script{steps: []step{says(put(7, "z"))}}
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": a, "b": b}})
		if err != nil {
			t.Fatal(err)
		}
		told, err := follow(t.Context(), c, client.FollowQuery{Service: web}, 3)
		if err != nil {
			t.Fatal(err)
		}
		wantTold(t, told, "snapshot 5", "change 6", "change 7")
		if len(b.asked) == 0 || b.asked[0].lastID != "6" {
			t.Errorf("the other node was asked for %+v", b.asked)
		}
	})
}

func TestEventsGoOnAtAnotherNode(t *testing.T) {
	for name, read := range map[string]struct {
		first, second step
		events        func(*client.Client, context.Context, client.EventQuery) func(func(client.Event, error) bool)
	}{
		"stream": {saysAndEnds(message(7), message(9)[:50]), says(message(9), message(11)), func(c *client.Client, ctx context.Context, q client.EventQuery) func(func(client.Event, error) bool) {
			return c.StreamEvents(ctx, q)
		}},
		"transfer": {saysAndEnds(line(7)+"\n", line(9)[:50]), step{status: 200, body: line(7) + "\n" + line(9) + "\n" + line(11) + "\n"}, func(c *client.Client, ctx context.Context, q client.EventQuery) func(func(client.Event, error) bool) {
			return c.Events(ctx, q)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := &script{steps: []step{read.first, {err: errors.New("connection refused")}}}, &script{steps: []step{read.second}}
				c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": a, "b": b}})
				if err != nil {
					t.Fatal(err)
				}
				var positions []string
				for e, err := range read.events(c, t.Context(), client.EventQuery{After: wire.Position{Number: 5}}) {
					if err != nil {
						t.Fatal(err)
					}
					if positions = append(positions, fmt.Sprint(e.Position)); len(positions) == 3 {
						break
					}
				}
				if got := strings.Join(positions, " "); got != "7 9 11" || !strings.Contains(b.asked[0].path, "from=7") {
					t.Errorf("%s came; the other node was asked for %+v", got, b.asked)
				}
			})
		})
	}
}

// A stream of new events only goes on where it began, so that none is left out.
func TestAStreamOfNewEventsLeavesOutNoneAtAnotherNode(t *testing.T) {
	var from string
	c, _ := several(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Rollcall-Position", "6")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			return
		}
		from = r.URL.Query().Get("from")
		w.Header().Set("Rollcall-Position", "7")
		_, _ = io.WriteString(w, message(7))
	})
	for e, err := range c.StreamEvents(t.Context(), client.EventQuery{}) {
		if err != nil || e.Position != 7 {
			t.Fatalf("%d, %v", e.Position, err)
		}
		break
	}
	if from != "6" {
		t.Errorf("the other node was asked from %q on", from)
	}
}

func TestEventsAreGivenUpWhenNoNodeServesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &script{steps: []step{saysAndEnds(message(7)), {err: errors.New("connection refused")}}}
		b := &script{steps: []step{{err: errors.New("connection refused")}}}
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": a, "b": b}})
		if err != nil {
			t.Fatal(err)
		}
		var ends error
		for _, err := range c.StreamEvents(t.Context(), client.EventQuery{}) {
			ends = err
		}
		if !errors.As(ends, new(*client.Unreachable)) {
			t.Errorf("it ends with %v", ends)
		}
	})
}

func TestAKeptInstanceStaysRegisteredWhenItsNodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := clienttest.New() // both nodes have its instances
		dying := &mortal{RoundTripper: registry}
		c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": dying, "b": registry}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		kept, err := c.Keep(ctx, client.Registration{Key: key, Details: domain.Details{Address: "10.0.0.1", TTL: domain.Duration(30 * time.Second)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := kept.WaitRegistered(ctx); err != nil {
			t.Fatal(err)
		}
		dying.kill()
		time.Sleep(2 * time.Minute)
		if state := kept.State(); state.Phase != client.Registered || state.Epoch != 1 || state.Err != nil || time.Since(state.Heard) > 15*time.Second {
			t.Errorf("%+v", state)
		}
		cancel()
		<-kept.Done()
	})
}

// mortal is a node that can die.
type mortal struct {
	http.RoundTripper
	mu   sync.Mutex
	dead bool
}

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errors.New("connection refused")
	}
	return m.RoundTripper.RoundTrip(r)
}
