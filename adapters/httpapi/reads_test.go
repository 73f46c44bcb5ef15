package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/tmaxmax/go-sse"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Every read refuses what it does not take by its name, whatever else is asked.
func TestReadsRefuseParametersTheyDoNotKnow(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for _, path := range []string{
		"/v1/services", "/v1/services/checkout", "/v1/services/checkout/instances", a1, "/v1/catalog", "/v1/diff?from=0", a1 + "/history", "/v1/services/checkout/history",
		"/v1/history", "/v1/events", "/v1/events?follow=true", "/v1/streams/services/checkout", "/v1/streams/catalog", "/v1/streams/events", "/v1/checkpoint", "/v1/checkpoint/key",
		"/v1/checkpoint/leaves", "/v1/proofs/inclusion?position=1", "/v1/proofs/consistency", "/v1/webhooks/x/history",
	} {
		with := "?"
		if strings.Contains(path, "?") {
			with = "&"
		}
		s.send("GET", path+with+"colour=red", "").problem(t, 422, "invalid-field", "colour")
	}
	for path, field := range map[string]string{
		"/v1/services?zone=z": "zone", "/v1/services/checkout?status=passing": "status", a1 + "?wait=1s": "wait", "/v1/services/checkout?limit=1": "limit", a1 + "?cursor=x": "cursor", "/v1/catalog?service=checkout": "service",
		"/v1/services/checkout/instances?instance=a": "instance", "/v1/diff?from=0&service=checkout": "service", a1 + "/history?service=checkout": "service", "/v1/checkpoint?ns=default": "ns",
		"/v1/services/checkout/instances?zone=a&zone=b": "zone", "/v1/events?from=1&from=2": "from", "/v1/catalog?ns=a&namespace=b": "namespace", "/v1/events?ns=a&namespace=b": "namespace",
		"/v1/streams/catalog?ns=a&namespace=b": "namespace",
	} {
		s.send("GET", path, "").problem(t, 422, "invalid-field", field)
	}
}

// ns and namespace are two names of one parameter, for every read.
func TestReadsTakeTheNamespaceByItsLongName(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", a1+"?ns=shop", `{"address":"10.0.0.6"}`).want(t, 201)
	for _, path := range []string{
		"/v1/services", "/v1/services/checkout", "/v1/services/checkout/instances", a1, "/v1/catalog", a1 + "/history", "/v1/services/checkout/history", "/v1/history", "/v1/events",
	} {
		short, long := s.send("GET", path+"?ns=shop", "").want(t, 200), s.send("GET", path+"?namespace=shop", "").want(t, 200)
		without := s.send("GET", path, "")
		if !bytes.Equal(short.body, long.body) || bytes.Equal(without.body, long.body) || len(long.body) < 40 {
			t.Errorf("%s: with ns\n%s\nwith namespace\n%s", path, short.body, long.body)
		}
	}
}

// Heartbeats between two times are those that were recorded then, though no lifecycle event was.
func TestSpansOfTimeAreExactOverHeartbeats(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for range 6 {
		s.send("PUT", a1+"/heartbeat", "").want(t, 200)
	}
	var all []eventstore.RecordedEvent
	read := func(query string) (positions []eventstore.Position) {
		for line := range strings.Lines(string(s.send("GET", "/v1/events?heartbeats=true"+query, "").want(t, 200).body)) {
			e, err := eventstore.ParseJSON([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			if query == "" {
				all = append(all, e)
			}
			positions = append(positions, e.Position)
		}
		return positions
	}
	if n := len(read("")); n != 7 {
		t.Fatalf("%d events", n)
	}
	for i := range all {
		for j := i; j < len(all); j++ {
			var want []eventstore.Position
			for _, e := range all {
				if !e.RecordedAt.Before(all[i].RecordedAt) && !e.RecordedAt.After(all[j].RecordedAt) {
					want = append(want, e.Position)
				}
			}
			span := url.Values{"from": {all[i].RecordedAt.Format(time.RFC3339Nano)}, "to": {all[j].RecordedAt.Format(time.RFC3339Nano)}}
			if got := read("&" + span.Encode()); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("from event %d to %d: %v, want %v", i, j, got, want)
			}
		}
	}
	for _, query := range []string{"/v1/history?type=HeartbeatReceived", a1 + "/history?type=HeartbeatReceived", "/v1/history?ns=default&type=WebhookCreated", "/v1/events?service=checkout&type=SelfPreservationStarted"} {
		s.send("GET", query, "").problem(t, 422, "invalid-field", "type")
	}
}

// A stream of events may begin at a time, heartbeats too.
func TestTheStreamOfEventsBeginsAtATime(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for range 3 {
		s.send("PUT", a1+"/heartbeat", "").want(t, 200)
		time.Sleep(time.Millisecond)
	}
	lines := strings.Split(string(s.send("GET", "/v1/events?type=HeartbeatReceived", "").want(t, 200).body), "\n")
	second, err := eventstore.ParseJSON([]byte(lines[1]))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(s.URL + "/v1/streams/events?heartbeats=true&from=" + url.QueryEscape(second.RecordedAt.Format(time.RFC3339Nano)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for e, err := range sse.Read(resp.Body, nil) {
		if err != nil || e.LastEventID != fmt.Sprint(second.Position) {
			t.Errorf("the first event is %s, %v; want position %d", e.LastEventID, err, second.Position)
		}
		break
	}
}

// When the server stops, every stream says so last, and the log's plain followers are cut off.
func TestStreamsEndVisiblyWhenTheServerStops(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	var ended sync.WaitGroup
	begun := make(chan struct{}, 4)
	for _, path := range []string{"/v1/streams/catalog", "/v1/streams/services/checkout", "/v1/streams/events?from=0"} {
		ended.Go(func() {
			resp, err := http.Get(s.URL + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var last sse.Event
			for e, err := range sse.Read(resp.Body, nil) {
				if err != nil {
					t.Errorf("%s: %v", path, err)
					break
				}
				if last.Type == "" {
					begun <- struct{}{}
				}
				last = e
			}
			if last.Type != "cut" || !strings.Contains(last.Data, "stopping") || last.LastEventID != "1" {
				t.Errorf("%s ended with %+v", path, last)
			}
		})
	}
	ended.Go(func() {
		resp, err := http.Get(s.URL + "/v1/events?follow=true")
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		begun <- struct{}{}
		if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a follower was sent %s and then %v", body, err)
		}
	})
	for range 4 {
		<-begun
	}
	s.stop()
	ended.Wait()
}

// breaking is a store whose reads break.
type breaking struct {
	eventstore.Store
	after int // events that can be read before; -1: it does not even take a subscription
}

var errBroken = errors.New("the disk is on fire")

func (b breaking) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		n := 0
		for e, err := range b.Store.ReadAll(ctx, opts) {
			if n++; n > b.after {
				yield(e, errBroken)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (b breaking) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	if b.after < 0 {
		return nil, eventstore.ErrUnavailable
	}
	sub, err := b.Store.Subscribe(ctx, opts)
	return &breakingSubscription{sub, b.after}, err
}

type breakingSubscription struct {
	eventstore.Subscription
	left int
}

func (b *breakingSubscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	if b.left <= 0 {
		return nil, 0, errBroken
	}
	events, p, err := b.Subscription.Next(ctx)
	events = events[:min(len(events), b.left)]
	b.left -= len(events)
	return events, p, err
}

// serveBroken serves a log of many events from a store that breaks.
func serveBroken(t *testing.T, after int) (server *httptest.Server, log *lockedBuffer) {
	t.Helper()
	memory := eventstoretest.NewMemory()
	for range 600 {
		if _, err := memory.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.RegistryStream, Events: []eventstore.EventData{
			{Type: "SelfPreservationEnded", Data: fmt.Appendf(nil, `{"padding":%q}`, strings.Repeat("x", 300)), Metadata: []byte(`{}`)}}}); err != nil {
			t.Fatal(err)
		}
	}
	log = &lockedBuffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	state, err := live.Open(t.Context(), live.Options{Store: memory, Now: time.Now, Logger: logger, Snapshots: projections.Snapshots{
		Dir: t.TempDir(), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: uuid.UUID{1}, Logger: logger}})
	if err != nil {
		t.Fatal(err)
	}
	server = httptest.NewServer(httpapi.New(httpapi.Config{
		Queries: &queries.Service{Live: state, Store: breaking{memory, after}, Now: time.Now, Stopping: t.Context()}, Logger: logger, Metrics: http.NotFoundHandler(),
	}))
	t.Cleanup(server.Close)
	return server, log
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What breaks before the reply has begun has its own status; what breaks later aborts the transfer. Both
// stand in the log.
func TestReadsThatBreakEndVisibly(t *testing.T) {
	for _, path := range []string{"/v1/events", "/v1/events?follow=true", "/v1/streams/events?from=0"} {
		server, log := serveBroken(t, 400)
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || len(body) < 10_000 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s answered %s with %d bytes, and then %v", path, resp.Status, len(body), err)
		}
		if !strings.Contains(log.String(), errBroken.Error()) {
			t.Errorf("%s: the log says %s", path, log)
		}
	}
	server, log := serveBroken(t, 0)
	resp, err := http.Get(server.URL + "/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 500 || !strings.Contains(log.String(), errBroken.Error()) {
		t.Errorf("a replay that breaks at once answered %s; the log says %s", resp.Status, log)
	}
	server, _ = serveBroken(t, -1)
	for _, path := range []string{"/v1/events?follow=true", "/v1/streams/events"} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 503 {
			t.Errorf("%s answered %s though there is no subscription", path, resp.Status)
		}
	}
}

// * means every namespace wherever a query may ask about more than one.
func TestAStarIsEveryNamespace(t *testing.T) {
	s := start(t)
	for _, ns := range []string{"", "?ns=shop", "?ns=pay"} {
		s.send("PUT", a1+ns, `{"address":"10.0.0.5"}`).want(t, 201)
	}
	s.send("PUT", "/v1/services/cart/instances/c?ns=pay", `{"address":"10.0.0.5","status":"critical"}`).want(t, 201)
	for path, want := range map[string]int{
		"/v1/services?ns=*": 3, "/v1/services?namespace=*": 3, "/v1/services": 0, "/v1/catalog?ns=*": 3, "/v1/catalog": 3, "/v1/catalog?at=now&ns=*": 3,
		"/v1/history?ns=*": 3, "/v1/history": 3, "/v1/events?ns=*": 3, "/v1/namespaces": 2, "/v1/namespaces?at=now": 2,
	} {
		body := string(s.send("GET", path, "").want(t, 200).body)
		if got := strings.Count(body, `"namespace":"pay"`) + strings.Count(body, `"namespace":"shop"`) + strings.Count(body, "instance-pay/") + strings.Count(body, "instance-shop/"); got < want || want == 0 && got > 0 {
			t.Errorf("GET %s has the other namespaces %d times, want %d:\n%s", path, got, want, body)
		}
	}
	for _, path := range []string{"/v1/services?ns=*shop", "/v1/catalog?ns=*shop", "/v1/history?ns=**", "/v1/events?ns=*&service=checkout", a1 + "?ns=*", "/v1/services/checkout?ns=*", "/v1/preservation?ns=*shop"} {
		s.send("GET", path, "").want(t, 422)
	}
	var list wire.NamespaceList
	s.send("GET", "/v1/namespaces", "").want(t, 200).json(t, &list)
	want := []wire.NamespaceSummary{
		{Namespace: "default", Services: 1, Instances: 1, Ready: 1, Position: list.Namespaces[0].Position},
		{Namespace: "pay", Services: 2, Instances: 2, Ready: 1, Position: list.Position},
		{Namespace: "shop", Services: 1, Instances: 1, Ready: 1, Position: list.Namespaces[2].Position},
	}
	if !slices.Equal(list.Namespaces, want) || list.Namespaces[0].Position.Number >= list.Namespaces[2].Position.Number {
		t.Errorf("the namespaces are %+v", list)
	}
	s.send("GET", "/v1/namespaces?index="+list.Position.String()+"&wait=10ms", "").want(t, 200)
}

// The first request of a client that polls has no index yet, and is answered at once, as Consul does it.
func TestAWaitWithoutAnIndexIsAnsweredAtOnce(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	began := time.Now()
	for _, path := range []string{"/v1/services/checkout/instances?wait=5m", "/v1/services/checkout?wait=5m", "/v1/services?wait=5m", "/v1/namespaces?wait=5m"} {
		s.send("GET", path, "").want(t, 200)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the answers took %v", took)
	}
	s.send("GET", "/v1/services?wait=6m", "").problem(t, 422, "invalid-field", "wait")
}
