package stream_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/stream"
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
	return &http.Response{StatusCode: http.StatusOK, Body: body, Request: request}, nil
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
