package httpapi_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// follower keeps a copy of what a stream tells, and what the copy was at every id.
type follower struct {
	t      *testing.T
	url    string
	lastID string
	copy   map[string]wire.Instance
	at     map[string]string // id → copy then
	seen   int
	resets int
}

// read follows the stream until so many events were seen or the stream ends.
func (f *follower) read(events int) error {
	r, err := http.NewRequest("GET", f.url, nil)
	if err != nil {
		return err
	}
	if f.lastID != "" {
		r.Header.Set("Last-Event-ID", f.lastID)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		return fmt.Errorf("the stream answered %s", resp.Status)
	}
	for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: 16 << 20}) {
		if err != nil {
			return err
		}
		f.take(e)
		if events--; events == 0 {
			return nil
		}
	}
	return nil
}

func (f *follower) take(e sse.Event) {
	if f.lastID != "" && len(f.lastID) == len(e.LastEventID) && e.LastEventID <= f.lastID && e.Type == "change" {
		f.t.Errorf("%s came after %s", e.LastEventID, f.lastID)
	}
	f.seen++
	switch e.Type {
	case "snapshot", "reset":
		if e.Type == "reset" {
			f.resets++
		}
		var document struct {
			Instances []wire.Instance
			Services  []wire.ServiceInstances
		}
		if err := json.Unmarshal([]byte(e.Data), &document); err != nil {
			f.t.Error(err)
		}
		f.copy = map[string]wire.Instance{}
		for _, s := range append(document.Services, wire.ServiceInstances{Instances: document.Instances}) {
			for _, i := range s.Instances {
				f.copy[i.Namespace+"/"+i.Service+"/"+i.ID] = i
			}
		}
	case "change":
		var c wire.Change
		if err := json.Unmarshal([]byte(e.Data), &c); err != nil {
			f.t.Error(err)
		}
		key := c.Namespace + "/" + c.Service + "/" + c.ID
		if c.Op == wire.Delete {
			if _, there := f.copy[key]; !there {
				f.t.Errorf("%s: %s is deleted, and was not there", e.LastEventID, key)
			}
			delete(f.copy, key)
		} else {
			f.copy[key] = *c.Instance
		}
	default:
		f.t.Errorf("unexpected event %q: %s", e.Type, e.Data)
	}
	f.lastID = e.LastEventID
	f.at[f.lastID] = f.text()
}

func (f *follower) text() string {
	b, err := json.Marshal(f.copy)
	if err != nil {
		f.t.Error(err)
	}
	return string(b)
}

// A snapshot plus changes is the catalog at every id, for whichever filter, however often the
// subscriber loses the connection.
func TestSnapshotPlusChangesIsTheCatalogAtEveryID(t *testing.T) {
	s := start(t)
	s.t = t
	rng := rand.New(rand.NewPCG(3, 14))
	act := func(n int) {
		for range n {
			path := fmt.Sprintf("/v1/services/%s/instances/i%d", []string{"web", "cart"}[rng.IntN(2)], rng.IntN(5))
			switch rng.IntN(6) {
			case 0, 1, 2:
				s.send("PUT", path, fmt.Sprintf(`{"address":"10.0.0.%d","zone":"z%d"}`, 1+rng.IntN(9), rng.IntN(2)))
			case 3:
				s.send("PUT", path+"/traffic", fmt.Sprintf(`{"traffic":"%s"}`, []string{"draining", "serving"}[rng.IntN(2)]))
			case 4:
				s.send("PUT", path+"/health", fmt.Sprintf(`{"status":"%s"}`, []string{"critical", "passing"}[rng.IntN(2)]))
			case 5:
				s.send("DELETE", path, "")
			}
		}
	}
	act(30)
	streams := map[string]string{ // and the query that gives the same at a position
		"/v1/streams/catalog":                                                 "/v1/catalog?",
		"/v1/streams/catalog?ready=true&zone=z1":                              "",
		"/v1/streams/catalog?service=web":                                     "/v1/services/web/instances?",
		"/v1/streams/catalog?service=web&service=default%2Fcart&service=none": "/v1/catalog?ns=default&",
		"/v1/streams/services/web":                                            "/v1/services/web/instances?",
		"/v1/streams/services/web?ready=true":                                 "/v1/services/web/instances?ready=true&",
		"/v1/streams/services/web?zone=z0":                                    "/v1/services/web/instances?zone=z0&",
	}
	var followers []*follower
	var group sync.WaitGroup
	stop := make(chan struct{})
	for path := range streams {
		f := &follower{t: t, url: s.URL + path, at: map[string]string{}}
		followers = append(followers, f)
		group.Go(func() {
			for n := 1; ; n++ {
				if err := f.read(1 + n%4); err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	act(300)
	s.send("PUT", "/v1/services/web/instances/last", `{"address":"10.0.0.1","zone":"z0"}`).want(t, 201)
	close(stop)
	for range 8 { // wakes those who still wait for an event
		s.send("PUT", "/v1/services/web/instances/wake", fmt.Sprintf(`{"address":"10.0.0.1","zone":"z%d"}`, rng.IntN(2)))
		s.send("DELETE", "/v1/services/web/instances/wake", "")
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("a follower still waits")
	}
	for i, f := range followers {
		path := strings.TrimPrefix(f.url, s.URL)
		if f.resets > 0 || f.seen < 10 {
			t.Errorf("%s: %d resets, %d events", path, f.resets, f.seen)
		}
		query := streams[path]
		if query == "" {
			continue
		}
		for id, got := range f.at {
			var then struct {
				Instances []wire.Instance
				Services  []wire.ServiceInstances
			}
			s.send("GET", query+"at="+id, "").want(t, 200).json(t, &then)
			want := follower{t: t, copy: map[string]wire.Instance{}}
			for _, s := range append(then.Services, wire.ServiceInstances{Instances: then.Instances}) {
				for _, i := range s.Instances {
					want.copy[i.Namespace+"/"+i.Service+"/"+i.ID] = i
				}
			}
			if got != want.text() {
				t.Fatalf("%s (%d) at %s:\n%s\nwant\n%s", path, i, id, got, want.text())
			}
		}
	}
}

func TestAStreamOfAServiceThatIsNotThereComesAlive(t *testing.T) {
	s := start(t)
	f := &follower{t: t, url: s.URL + "/v1/streams/services/later", at: map[string]string{}}
	done := make(chan error)
	go func() { done <- f.read(2) }()
	time.Sleep(10 * time.Millisecond) // either order must do
	s.send("PUT", "/v1/services/later/instances/a", `{"address":"::1"}`).want(t, 201)
	s.send("PUT", "/v1/services/later/instances/a", `{"address":"::2"}`).want(t, 200)
	if err := <-done; err != nil || len(f.copy) != 1 {
		t.Errorf("%v, %v", f.copy, err)
	}
}

func TestBadStreamRequestsAreRefused(t *testing.T) {
	s := start(t)
	for path, field := range map[string]string{
		"/v1/streams/services/web?from=x": "from", "/v1/streams/catalog?colour=red": "colour",
		"/v1/streams/catalog?status=ill": "status", "/v1/streams/services/web?at=0": "at", "/v1/streams/services/A.": "service", "/v1/streams/catalog?ns=A": "ns",
		"/v1/streams/events?from=99": "from", "/v1/streams/events?to=1": "to", "/v1/streams/events?type=x": "type", "/v1/streams/events?nonsense=1": "nonsense",
	} {
		s.send("GET", path, "").problem(t, 422, "invalid-field", field)
	}
	s.send("GET", "/v1/streams/catalog", "", "Last-Event-ID", "abc").problem(t, 422, "invalid-field", "Last-Event-ID")
	s.send("GET", "/v1/services/web/instances?from=0", "").problem(t, 422, "invalid-field", "from")
}

func TestTheStreamOfEventsResumes(t *testing.T) {
	s := start(t)
	for i := range 5 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"::1"}`).want(t, 201)
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d/heartbeat", i), "").want(t, 200)
	}
	resp, err := http.Get(s.URL + "/v1/streams/events?from=2&heartbeats=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	position := eventstore.Position(3)
	for e, err := range sse.Read(resp.Body, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got, err := eventstore.ParseJSON([]byte(e.Data))
		if err != nil || e.Type != "event" || got.Position != position || e.LastEventID != fmt.Sprint(position) {
			t.Fatalf("%+v, %v; want position %d", e, err, position)
		}
		if position++; position == 12 {
			break
		}
		if position == 11 {
			s.send("PUT", "/v1/services/web/instances/0", `{"address":"::2"}`).want(t, 200)
		}
	}
}

func TestAStreamOfNamedServicesTellsOfNoOther(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/b?ns=prod", `{"address":"10.0.0.2"}`).want(t, 201)
	s.send("PUT", "/v1/services/cart/instances/c", `{"address":"10.0.0.3"}`).want(t, 201)
	f := &follower{t: t, url: s.URL + "/v1/streams/catalog?service=cart&service=prod/web", at: map[string]string{}}
	if err := f.read(1); err != nil {
		t.Fatal(err)
	}
	if _, b := f.copy["prod/web/b"]; len(f.copy) != 2 || !b {
		t.Errorf("the snapshot has %s", f.text())
	}
	s.send("PUT", "/v1/services/web/instances/d", `{"address":"10.0.0.4"}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/e?ns=prod", `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("DELETE", "/v1/services/cart/instances/c", "").want(t, 200)
	if err := f.read(2); err != nil {
		t.Fatal(err)
	}
	if _, e := f.copy["prod/web/e"]; len(f.copy) != 2 || !e {
		t.Errorf("after the changes the copy is %s", f.text())
	}
	s.send("GET", "/v1/streams/catalog?service=a/b/c", "").problem(t, 422, "invalid-field", "service")
	s.send("GET", "/v1/streams/catalog?service=-", "").problem(t, 422, "invalid-field", "service")
	s.send("GET", "/v1/streams/catalog?service=", "").problem(t, 422, "invalid-field", "service")
	s.send("HEAD", "/v1/streams/catalog?service="+strings.Repeat("a&service=b&service=", 1100)+"a", "").want(t, 200) // each counts once
}
