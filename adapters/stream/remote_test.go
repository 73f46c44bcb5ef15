package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// registry is a registry's stream of events, which tells so many on each connection and then falls
// silent, or with breaks set breaks off.
type registry struct {
	each   int
	breaks bool

	mu    sync.Mutex
	asked []string // queries, by request
	at    []time.Time
}

func (r *registry) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.at = append(r.asked, request.URL.RawQuery), append(r.at, time.Now())
	var from int
	if _, err := fmt.Sscan(request.URL.Query().Get("from"), &from); err != nil {
		return nil, err
	}
	body, w := io.Pipe()
	context.AfterFunc(request.Context(), func() { w.CloseWithError(request.Context().Err()) })
	go func() {
		for i := from + 1; i <= from+r.each; i++ {
			fmt.Fprintf(w, "id: %d\nevent: event\ndata: {\"position\":\"%d\",\"stream\":\"instance-default/web/a\",\"type\":\"HealthChanged\",\"data\":{},\"metadata\":{}}\n\n", i, i)
		}
		if r.breaks {
			w.CloseWithError(io.ErrUnexpectedEOF)
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Rollcall-Position": {"9"}}, Body: body, Request: request}, nil
}

// take subscribes to a topic and wants events 1 to n, each once.
func take(t *testing.T, r *registry, topic string, n int) {
	t.Helper()
	sub, err := stream.NewSubscriber(stream.Config{Source: stream.Remote{URL: "http://registry", Transport: r}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := sub.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := <-messages
		if m.Metadata["position"] != fmt.Sprint(i+1) {
			t.Fatalf("position %s comes, want %d", m.Metadata["position"], i+1)
		}
		m.Ack()
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

func TestASubscriberGoesOnAfterABreakWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		take(t, &registry{each: 3, breaks: true}, "events", 12)
	})
}

func TestASubscriberNoticesADeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{each: 3}
		take(t, r, "events?service=web", 6)
		if took := r.at[1].Sub(r.at[0]); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("it asked again after %v, want two keep-alives", took)
		}
		if want := "from=3&ns=default&service=web"; r.asked[1] != want {
			t.Errorf("it asked again for %s, want %s", r.asked[1], want)
		}
	})
}

// A remote registry is asked for what a topic picks and for no more than that, where it can be said.
func TestATopicIsAskedForByName(t *testing.T) {
	for topic, want := range map[string]string{
		"events":                        "from=0",
		"events?ns=shop":                "from=0&ns=shop",
		"events?service=web":            "from=0&ns=default&service=web",
		"events?ns=shop&service=web":    "from=0&ns=shop&service=web",
		"events?heartbeats=true":        "from=0&heartbeats=true",
		"events?service=web&instance=a": "from=0&instance=a&ns=default&service=web",
		"events?type=HeartbeatReceived": "from=0&heartbeats=true&type=HeartbeatReceived",
		"events?service=web&type=HeartbeatReceived,LeaseExpired": "from=0&heartbeats=true&ns=default&service=web&type=HeartbeatReceived%2CLeaseExpired",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &registry{}
			sub, err := stream.NewSubscriber(stream.Config{Source: stream.Remote{URL: "http://registry", Transport: r}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sub.Subscribe(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := sub.Close(); err != nil {
				t.Error(err)
			}
			if len(r.asked) != 1 || r.asked[0] != want {
				t.Errorf("%s is asked for as %q, want %q", topic, r.asked, want)
			}
		})
	}
}

// A registry that is away is not asked ten times a second.
func TestPausesGrowWhileASourceKeepsFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registry{each: 0, breaks: true}
		sub, err := stream.NewSubscriber(stream.Config{Source: stream.Remote{URL: "http://registry", Transport: r}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Subscribe(t.Context(), "events"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		if n := len(r.asked); n < 120 || n > 130 {
			t.Errorf("it asked %d times in 10 minutes", n)
		}
	})
}

// restored is a registry that was restored while a consumer was away, or another one in its place: it refuses to go on
// after positions of the first timeline behind the fork.
type restored struct {
	refusal string // problem+json

	mu    sync.Mutex
	asked []string // positions
}

func (r *restored) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := request.URL.Query().Get("from")
	r.asked = append(r.asked, from)
	if number, timeline, _ := strings.Cut(from, "-"); timeline == "" && number > "2" {
		var p wire.Problem
		if err := json.Unmarshal([]byte(r.refusal), &p); err != nil {
			return nil, err
		}
		return &http.Response{
			StatusCode: p.Status, Header: http.Header{"Content-Type": {"application/problem+json"}},
			Body: io.NopCloser(strings.NewReader(r.refusal)), Request: request,
		}, nil
	}
	var text strings.Builder
	for _, position := range []string{"1", "2", "3-aa", "4-aa"} {
		if position > from {
			fmt.Fprintf(&text, "id: %s\nevent: event\ndata: {\"position\":\"%s\",\"stream\":\"instance-default/web/a\",\"type\":\"HealthChanged\",\"data\":{},\"metadata\":{}}\n\n", position, position)
		}
	}
	body, w := io.Pipe()
	context.AfterFunc(request.Context(), func() { w.CloseWithError(request.Context().Err()) })
	go func() { _, _ = io.WriteString(w, text.String()) }()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Rollcall-Position": {"9"}}, Body: body, Request: request}, nil
}

// A consumer of a remote registry goes on after the fork where the registry names it, and begins anew where nothing is
// shared. The checkpoint has the timeline, so that the next start goes on without a word.
func TestAConsumerOfARestoredRemoteRegistryGoesOn(t *testing.T) {
	for _, c := range []struct{ name, refusal, want, asked string }{
		{"the lost future", `{"type":"urn:rollcall:problem:other-timeline","status":410,"fork":"2"}`, "[3-aa 4-aa]", "[9 2]"},
		{"another registry", `{"type":"urn:rollcall:problem:other-timeline","status":410}`, "[1 2 3-aa 4-aa]", "[9 0]"},
		{"one that was made anew", `{"type":"urn:rollcall:problem:invalid-field","status":422,"field":"from"}`, "[1 2 3-aa 4-aa]", "[9 0]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			checkpoints, err := stream.OpenCheckpoints(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if err := checkpoints.Save("c/events", wire.Position{Number: 9}); err != nil {
				t.Fatal(err)
			}
			r := &restored{refusal: c.refusal}
			var got []string
			for range 2 {
				sub, err := stream.NewSubscriber(stream.Config{Source: stream.Remote{URL: "http://registry", Transport: r}, Consumer: "c", Checkpoints: checkpoints})
				if err != nil {
					t.Fatal(err)
				}
				messages, err := sub.Subscribe(t.Context(), "events")
				if err != nil {
					t.Fatal(err)
				}
				for quiet := false; !quiet; {
					select {
					case m := <-messages:
						got = append(got, m.Metadata["position"])
						m.Ack()
					case <-time.After(time.Second):
						quiet = true
					}
				}
				if err := sub.Close(); err != nil {
					t.Error(err)
				}
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("%s: the consumer is told %v, want %s", c.name, got, c.want)
			}
			if asked := fmt.Sprint(r.asked[:2]); asked != c.asked || r.asked[len(r.asked)-1] != "4-aa" {
				t.Errorf("%s: it asked for what comes after %v", c.name, r.asked)
			}
			if at, _, err := checkpoints.Load("c/events"); err != nil || at.String() != "4-aa" {
				t.Errorf("%s: the checkpoint is %v, %v", c.name, at, err)
			}
		})
	}
}
