package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// observed remembers what the API tells of its requests.
type observed struct {
	mu      sync.Mutex
	replies map[string]int // by method, route and status
	open    map[string]int // streams by route
	ahead   []ahead        // the series that were made
}

type ahead struct {
	route  string // METHOD /path/:parameter
	status int
}

func (o *observed) Replied(method, route string, status int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replies[fmt.Sprint(method, " ", route, " ", status)]++
}

func (o *observed) Series(method, route string, status int) func(time.Duration) {
	o.ahead = append(o.ahead, ahead{method + " " + route, status})
	return func(took time.Duration) { o.Replied(method, route, status, took) }
}

func (o *observed) Subscribed(route string, change int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[route] += change
}

func (o *observed) streams(route string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[route]
}

// A series that is made ahead is shown in the metrics before it counts anything, so it is of a reply that there is.
func TestASeriesThatIsMadeAheadIsOfAReplyThatThereIs(t *testing.T) {
	o := &observed{replies: map[string]int{}, open: map[string]int{}}
	startObserved(t, o)
	for _, made := range o.ahead {
		if !slices.Contains(described()[made.route].statuses, made.status) {
			t.Errorf("%s is answered with no %d", made.route, made.status)
		}
	}
	if len(o.ahead) == 0 {
		t.Error("no series is made ahead")
	}
}

func TestRequestsAreObservedByRouteAndStatus(t *testing.T) {
	o := &observed{replies: map[string]int{}, open: map[string]int{}}
	s := startObserved(t, o)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5"}`).want(t, http.StatusCreated)
	s.send("PUT", "/v1/services/web/instances/b", `{"address":""}`).want(t, http.StatusUnprocessableEntity)
	s.send("GET", "/v1/services/web/instances?ready=true", "").want(t, http.StatusOK)
	s.send("GET", "/nothing", "").want(t, http.StatusNotFound)
	stream, err := http.Get(s.URL + "/v1/streams/catalog")
	if err != nil {
		t.Fatal(err)
	}
	const route = "/v1/streams/catalog"
	if n := o.streams(route); n != 1 {
		t.Errorf("%d streams are open", n)
	}
	if err := stream.Body.Close(); err != nil {
		t.Fatal(err)
	}
	for o.streams(route) != 0 { // it ends when the server finds out
		time.Sleep(time.Millisecond)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for reply, want := range map[string]int{
		"PUT /v1/services/:service/instances/:id 201": 1, "PUT /v1/services/:service/instances/:id 422": 1, "GET /v1/services/:service/instances 200": 1,
	} {
		if o.replies[reply] != want {
			t.Errorf("%s was seen %d times, want %d: %v", reply, o.replies[reply], want, o.replies)
		}
	}
	if len(o.replies) != 4 {
		t.Errorf("seen: %v", o.replies)
	}
}
