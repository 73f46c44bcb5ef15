package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// line is an event as the registry writes it.
func line(position int) string {
	return fmt.Sprintf(`{"position":"%d","id":"00000000-0000-0000-0000-%012d","stream":"instance-default/web/a","revision":%d,"recorded_at":"2026-03-01T03:12:00Z","type":"HealthChanged","data":{"epoch":1,"from":"passing","to":"critical","source":"check"},"metadata":{}}`, position, position, position)
}

// registry is a server that answers every request with handler.
func registry(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Rollcall-Position", "9")
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read collects the positions of events, and the error that ends them.
func read(ctx context.Context, c *client.Client, q client.EventQuery) (positions []eventstore.Position, err error) {
	for e, err := range c.Events(ctx, q) {
		if err != nil {
			return positions, err
		}
		positions = append(positions, e.Position)
	}
	return positions, nil
}

func TestEventsEndWhereTheTransferEnds(t *testing.T) {
	long := strings.Replace(line(2), `{"epoch":1}`, `{"note":"`+strings.Repeat("x", 200_000)+`"}`, 1)
	c := registry(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "from=5m+ago&heartbeats=true&ns=prod&type=HealthChanged%2CLeaseExpired" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		fmt.Fprintf(w, "%s\n%s\n\n%s\n", line(1), long, line(3))
	})
	positions, err := read(t.Context(), c, client.EventQuery{Namespace: "prod", Types: []string{"HealthChanged", "LeaseExpired"}, Heartbeats: true, From: "5m ago"})
	if err != nil || fmt.Sprint(positions) != "[1 2 3]" {
		t.Errorf("%v, %v", positions, err)
	}
}

func TestABrokenTransferOfEventsSaysWhatIsMissing(t *testing.T) {
	for name, broken := range map[string]struct {
		handler http.HandlerFunc
		after   eventstore.Position
	}{
		"the server aborts between lines": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s\n%s\n", line(7), line(9))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 9},
		"the server aborts within a line": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s\n%s", line(7), line(9)[:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 7},
		"a proxy ends the reply within a line": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s\n%s", line(7), line(9)[:100])
		}, 7},
		"a proxy ends the reply before a newline": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "%s\n%s", line(7), line(9))
		}, 7},
		"fewer bytes than were promised": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			fmt.Fprintf(w, "%s\n", line(7))
		}, 7},
		"what is no event": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s\n<html>\n", line(7)) }, 7},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t.Context(), registry(t, broken.handler), client.EventQuery{})
			var b *client.Broken
			if !errors.As(err, &b) || b.After != broken.after {
				t.Fatalf("it ends with %v, want a break after %d", err, broken.after)
			}
			if said := fmt.Sprintf("what comes after position %d is missing", b.After); b.After > 0 && !strings.Contains(err.Error(), said) {
				t.Errorf("%q does not say that %s", err, said)
			}
		})
	}
}

func TestARefusedTransferOfEventsIsAProblem(t *testing.T) {
	c := registry(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(422)
		_, _ = io.WriteString(w, `{"type":"urn:rollcall:problem:invalid-field","status":422,"field":"type","detail":"type must be one of …"}`)
	})
	var refused *wire.Problem
	if _, err := read(t.Context(), c, client.EventQuery{Types: []string{"Nonsense"}}); !errors.As(err, &refused) || refused.Field != "type" {
		t.Errorf("%v", err)
	}
}

func TestWhoeverStopsReadingEndsTheTransfer(t *testing.T) {
	gone := make(chan struct{})
	c := registry(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s\n", line(1))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	for _, err := range c.Events(t.Context(), client.EventQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	<-gone
}

func message(position int) string {
	return fmt.Sprintf("id: %d\nevent: event\ndata: %s\n\n", position, line(position))
}

func TestAStreamOfEventsEndsWithWhatIsMissing(t *testing.T) {
	for name, end := range map[string]struct {
		last step
		says string
	}{
		"dead path": {says(message(7)), "nothing came for 30s, not even a keep-alive"},
		"break":     {saysAndEnds(message(7), message(9)[:50]), "unexpected EOF"},
		"cut":       {says(message(7), "event: cut\ndata: {\"reason\":\"the registry is shutting down\"}\n\n"), "the registry is shutting down"},
		"end": {step{stream: func(_ context.Context, w *io.PipeWriter) {
			_, _ = io.WriteString(w, message(7))
			_ = w.Close()
		}}, "the registry ended it"},
		"nonsense": {says(message(7), "event: event\ndata: {\n\n"), "unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{end.last}}
				var positions []eventstore.Position
				var err error
				for e, broke := range s.client(t).StreamEvents(t.Context(), client.EventQuery{Service: "web", After: wire.Position{Number: 5}}) {
					if err = broke; err == nil {
						positions = append(positions, e.Position)
					}
				}
				var b *client.Broken
				if !errors.As(err, &b) || b.After != 7 || !strings.Contains(err.Error(), end.says) || fmt.Sprint(positions) != "[7]" {
					t.Errorf("%v, then %v", positions, err)
				}
				if want := "/v1/streams/events?from=5&ns=default&service=web"; s.asked[0].path != want || len(s.asked) != 1 {
					t.Errorf("asked for %v, want %s once", s.asked, want)
				}
			})
		})
	}
}

// A moment is included, a position after which events are wanted is not, however the route takes them.
func TestWhereEventsBegin(t *testing.T) {
	for want, q := range map[string]client.EventQuery{
		"":                {},
		"from=0":          {From: "0"},
		"from=6":          {From: "7"},
		"from=6-ab":       {From: "7-ab"},
		"from=7":          {After: wire.Position{Number: 7}, From: "3"},
		"from=7-ab":       {After: wire.Position{Number: 7, Timeline: "ab"}},
		"from=5m+ago":     {From: "5m ago"},
		"from=2026-03-01": {From: "2026-03-01"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{saysAndEnds()}}
			for range s.client(t).StreamEvents(t.Context(), q) {
			}
			if got := strings.TrimPrefix(strings.TrimPrefix(s.asked[0].path, "/v1/streams/events"), "?"); got != want {
				t.Errorf("%+v is asked for with %q, want %q", q, got, want)
			}
		})
	}
	c := registry(t, func(w http.ResponseWriter, r *http.Request) {
		if from := r.URL.Query().Get("from"); from != "7" {
			t.Errorf("asked from %s on", from)
		}
		fmt.Fprintf(w, "%s\n%s\n", line(7), line(8))
	})
	if positions, err := read(t.Context(), c, client.EventQuery{After: wire.Position{Number: 7}}); err != nil || fmt.Sprint(positions) != "[8]" {
		t.Errorf("%v, %v", positions, err)
	}
}
