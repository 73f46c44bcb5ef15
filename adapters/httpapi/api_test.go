package httpapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/docs/api"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/access"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/projections/policies"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// server is a registry over a temporary store, behind a real HTTP server.
type server struct {
	*httptest.Server
	api      *httpapi.API
	t        testing.TB
	notReady error
	stop     context.CancelFunc // tells waiting queries that the server stops
}

func start(t testing.TB) *server {
	t.Helper()
	return startOn(t, pebblestore.Options{})
}

// startOn is start with a store of one's own making.
func startOn(t testing.TB, opts pebblestore.Options) *server {
	t.Helper()
	return startWith(t, opts, nil)
}

// startObserved is start with an observer of requests.
func startObserved(t testing.TB, observer web.Observer) *server {
	t.Helper()
	return startWith(t, pebblestore.Options{}, observer)
}

func startWith(t testing.TB, opts pebblestore.Options, observer web.Observer) *server {
	t.Helper()
	return startConfigured(t, opts, func(c *httpapi.Config) { c.Observer = observer })
}

// startConfigured is start with a configuration that the test changes.
func startConfigured(t testing.TB, opts pebblestore.Options, change func(*httpapi.Config)) *server {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	observed := metrics.New("test")
	opts.Logger, opts.OnCommit = logger, func(c pebblestore.Commit) { observed.Committed(c.Events, c.Sync, c.Append) }
	store, err := pebblestore.Open(filepath.Join(dir, "events"), opts)
	if err != nil {
		t.Fatal(err)
	}
	snapshots := projections.Snapshots{Dir: filepath.Join(dir, "snapshots"), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: store.ID(), Logger: logger}
	registry, err := live.Open(t.Context(), live.Options{Store: store, Now: time.Now, Logger: logger, Snapshots: snapshots})
	if err != nil {
		t.Fatal(err)
	}
	past, err := history.Open(filepath.Join(dir, "history"), store.ID(), logger)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := history.LoadSigner(filepath.Join(dir, "checkpoint.key"), store.ID())
	if err != nil {
		t.Fatal(err)
	}
	observed.Watch(registry, store.DiskUsage)
	s := &server{t: t}
	var stopping context.Context
	stopping, s.stop = context.WithCancel(context.Background())
	hooks, err := webhooks.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.Open(t.Context(), store, logger)
	if err != nil {
		t.Fatal(err)
	}
	rails, err := policies.Open(t.Context(), store, logger)
	if err != nil {
		t.Fatal(err)
	}
	config := httpapi.Config{
		Commands: commands.New(store, func() commands.Catalog { return registry.Catalog() }, registry, observed.Commanded),
		Queries: &queries.Service{
			Live: registry, Past: asof.New(store, snapshots), History: past, Store: store, StoreID: store.ID().String(), Signer: signer,
			Now: time.Now, Stopping: stopping,
			Node: queries.Node{Version: "test", StoreKind: "embedded", Started: time.Now(), Ready: func() error { return s.notReady }, StoreErr: store.Err, Bytes: store.DiskUsage},
		},
		Webhooks: hooks, WebhookCommands: &commands.Webhooks{Store: store, WaitFor: hooks.WaitFor}, Deliveries: fakeDeliveries{},
		PreservationCommands: &commands.Preservation{Store: store, Projections: registry},
		Ready:                func() error { return s.notReady }, Metrics: observed.Handler(), OpenAPI: api.OpenAPI,
		Version: "test", Logger: logger,
		Tokens: tokens, AccessCommands: &commands.Access{Store: store, State: tokens, Now: time.Now, Derive: func(from string) ([]byte, error) {
			sum := sha256.Sum256([]byte(from))
			return sum[:], nil
		}},
	}
	config.Policies, config.PolicyCommands = rails, &commands.Policies{Store: store, State: rails, Catalog: registry}
	config.Commands.Guard = &commands.Guard{Policies: rails, Now: time.Now}
	change(&config)
	s.api = httpapi.New(config)
	s.Server = httptest.NewUnstartedServer(s.api)
	s.Config.ConnContext = web.ConnContext
	s.Listener, s.Config.ConnState = s.api.Lane().Listen(s.Listener), s.api.Lane().ConnState
	s.Start()
	running, halt := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := registry.Run(running); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() { // else it is held to be behind after a while
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		_ = registry.Measure(running, ticks.C) // it ends with the context
	})
	group.Go(func() {
		if err := hooks.Run(running, store, logger, func(domain.Webhook) {}); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		if err := rails.Run(running, store); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		if err := tokens.Run(running, store); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		if err := past.Run(running, store); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.stop()
		s.Close()
		halt()
		group.Wait()
		if err := errors.Join(registry.Close(), past.Close(), store.Close()); err != nil && opts.FS == nil { // a broken disk is broken
			t.Error(err)
		}
	})
	return s
}

type reply struct {
	*http.Response
	body []byte
}

var validating sync.Mutex // the validator is not for several goroutines

// send makes a request and holds the reply to the API's description.
func (s *server) send(method, path, body string, header ...string) reply {
	s.t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.hold(r, resp, b)
	return reply{resp, b}
}

func (s *server) hold(r *http.Request, resp *http.Response, body []byte) {
	s.t.Helper()
	if kind := resp.Header.Get("Content-Type"); strings.Contains(kind, "ndjson") || strings.Contains(kind, "cloudevents") {
		return // lines; tests of them look at each
	}
	s.holdProblem(r, resp, body)
	s.holdRequest(r, resp, body)
	if resp.StatusCode == http.StatusNotModified || bytes.Contains(body, []byte("no-such-route")) || bytes.Contains(body, []byte("method-not-allowed")) {
		return // nothing is described there
	}
	validating.Lock()
	defer validating.Unlock()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if ok, errs := description().ValidateHttpResponse(r, resp); !ok {
		for _, e := range errs {
			s.t.Errorf("%s %s: the reply is not as described: %s %s\n%s", r.Method, r.URL.Path, e.Message, e.Reason, body)
			for _, v := range e.SchemaValidationErrors {
				s.t.Errorf("  %s at %s", v.Reason, v.KeywordLocation)
			}
		}
	}
}

func (r reply) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
}

func (r reply) want(t testing.TB, status int) reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s gave %d, want %d: %s", r.Request.Method, r.Request.URL, r.StatusCode, status, r.body)
	}
	return r
}

func (r reply) problem(t testing.TB, status int, kind, field string) {
	t.Helper()
	var p wire.Problem
	r.json(t, &p)
	if r.StatusCode != status || p.Status != status || p.Type != "urn:rollcall:problem:"+kind || p.Field != field {
		t.Errorf("%s %s gave %d %s, want %d %s %q", r.Request.Method, r.Request.URL, r.StatusCode, r.body, status, kind, field)
	}
	if r.Header.Get("Content-Type") != "application/problem+json" || p.Title == "" || p.Detail == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		t.Errorf("the problem lacks something: %s %v", r.body, r.Header)
	}
}

const a1 = "/v1/services/checkout/instances/a-1"

func TestAnInstancesLife(t *testing.T) {
	s := start(t)
	body := `{"address":"10.0.0.5","ports":{"http":8080},"tags":["canary","a"],"metadata":{"team":"shop"},"zone":"eu-1a","version":"1.4.2","weight":7,"status":"starting","ttl":"45s"}`
	created := s.send("PUT", a1, body).want(t, 201)
	if created.Header.Get("Location") != a1 || created.Header.Get("ETag") != `"0"` {
		t.Errorf("created: %v", created.Header)
	}
	s.send("PUT", a1, body).want(t, 200)
	s.send("PUT", a1+"/heartbeat", "").want(t, 200)
	s.send("PUT", a1+"/health", `{"status":"passing","output":"warm"}`).want(t, 200)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining","reason":"deploy"}`, "If-Match", `"1"`).want(t, 200)
	var i wire.Instance
	got := s.send("GET", a1, "").want(t, 200)
	got.json(t, &i)
	if i.Status != "passing" || i.Traffic != "draining" || i.Revision != 2 || i.Epoch != 1 || i.Ports["http"] != 8080 || i.Tags[0] != "canary" || i.LeaseExpiresAt == nil || i.Weight != 7 {
		t.Errorf("the instance is %s", got.body)
	}
	s.send("DELETE", a1+"?reason=bye", "").want(t, 200)
	s.send("GET", a1, "").problem(t, 410, "instance-gone", "")
	s.send("PUT", a1+"/heartbeat", "").problem(t, 404, "unknown-instance", "")
	var again struct{ Epoch, Revision int }
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201).json(t, &again)
	if again.Epoch != 2 || again.Revision != 4 {
		t.Errorf("registered again: %+v", again)
	}
	var made struct{ ID string }
	s.send("POST", "/v1/services/checkout/instances", `{"address":"db.example.com"}`).want(t, 201).json(t, &made)
	s.send("GET", "/v1/services/checkout/instances/"+made.ID, "").want(t, 200)
	s.send("PUT", "/v1/services/checkout/instances/10.0.0.1%3A8080?ns=shop", `{"address":"10.0.0.1"}`).want(t, 201)
	s.send("GET", "/v1/services/checkout/instances/10.0.0.1:8080?ns=shop", "").want(t, 200)
}

func TestBadInputIsRefusedWithItsFieldAndWritesNothing(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	before := s.send("GET", "/v1/services", "").want(t, 200)
	long := strings.Repeat("a", 129)
	at := func(body string) func() reply { return func() reply { return s.send("PUT", a1, body) } }
	for name, c := range map[string]struct {
		send        func() reply
		status      int
		kind, field string
	}{
		"long service":      {func() reply { return s.send("PUT", "/v1/services/"+long+"/instances/a", `{"address":"::1"}`) }, 422, "invalid-field", "service"},
		"leading dash":      {func() reply { return s.send("PUT", "/v1/services/-Web/instances/a", `{"address":"::1"}`) }, 422, "invalid-field", "service"},
		"namespace":         {func() reply { return s.send("PUT", a1+"?ns=a_b", `{"address":"::1"}`) }, 422, "invalid-field", "namespace"},
		"id":                {func() reply { return s.send("PUT", "/v1/services/web/instances/a%20b", `{"address":"::1"}`) }, 422, "invalid-field", "id"},
		"control character": {func() reply { return s.send("PUT", "/v1/services/web/instances/a%0ab", `{"address":"::1"}`) }, 422, "invalid-field", "id"},
		"invalid UTF-8 id":  {func() reply { return s.send("PUT", "/v1/services/web/instances/%ff", `{"address":"::1"}`) }, 422, "invalid-field", "id"},
		"no address":        {at(`{}`), 422, "invalid-field", "address"},
		"mistyped address":  {at(`{"address":"10.0.0.300"}`), 422, "invalid-field", "address"},
		"unknown field":     {at(`{"address":"::1","adress":"x"}`), 422, "invalid-field", "adress"},
		"wrong type":        {at(`{"address":5}`), 422, "invalid-field", "address"},
		"not an object":     {at(`[]`), 422, "invalid-field", "body"},
		"NaN":               {at(`{"address":"::1","weight":NaN}`), 400, "invalid-json", ""},
		"half a body":       {at(`{"address":"::1"`), 400, "invalid-json", ""},
		"two bodies":        {at(`{"address":"::1"}{}`), 400, "invalid-json", ""},
		"no body":           {at(``), 400, "invalid-json", ""},
		"negative ttl":      {at(`{"address":"::1","ttl":"-5s"}`), 422, "invalid-field", "ttl"},
		"absurd ttl":        {at(`{"address":"::1","ttl":"25h"}`), 422, "invalid-field", "ttl"},
		"ttl as a number":   {at(`{"address":"::1","ttl":30}`), 422, "invalid-field", "ttl"},
		"ttl in words":      {at(`{"address":"::1","ttl":"soon"}`), 422, "invalid-field", "ttl"},
		"port 0":            {at(`{"address":"::1","ports":{"http":0}}`), 422, "invalid-field", "ports.http"},
		"port 70000":        {at(`{"address":"::1","ports":{"http":70000}}`), 422, "invalid-field", "ports.http"},
		"port 1.5":          {at(`{"address":"::1","ports":{"http":1.5}}`), 422, "invalid-field", "ports.http"},
		"negative weight":   {at(`{"address":"::1","weight":-1}`), 422, "invalid-field", "weight"},
		"status":            {at(`{"address":"::1","status":"fine"}`), 422, "invalid-field", "status"},
		"empty tag":         {at(`{"address":"::1","tags":[""]}`), 422, "invalid-field", "tags[0]"},
		"metadata value":    {at(`{"address":"::1","metadata":{"k":"` + strings.Repeat("v", 4097) + `"}}`), 422, "invalid-field", "metadata.k"},
		"large body":        {at(`{"address":"` + strings.Repeat("a", httpapi.MaxBody) + `"}`), 413, "too-large", ""},
		"deep JSON":         {at(strings.Repeat(`{"address":`, 20000)), 400, "invalid-json", ""},
		"unknown instance":  {func() reply { return s.send("PUT", "/v1/services/web/instances/a/heartbeat", "") }, 404, "unknown-instance", ""},
		"stale epoch":       {func() reply { return s.send("PUT", a1+"/heartbeat?epoch=7", "") }, 409, "stale-epoch", ""},
		"epoch in words":    {func() reply { return s.send("PUT", a1+"/heartbeat?epoch=first", "") }, 422, "invalid-field", "epoch"},
		"wrong If-Match":    {func() reply { return s.send("DELETE", a1, "", "If-Match", `"9"`) }, 412, "revision-mismatch", ""},
		"broken If-Match":   {func() reply { return s.send("DELETE", a1, "", "If-Match", `"x"`) }, 422, "invalid-field", "If-Match"},
		"health status":     {func() reply { return s.send("PUT", a1+"/health", `{"status":"ok"}`) }, 422, "invalid-field", "status"},
		"traffic":           {func() reply { return s.send("PUT", a1+"/traffic", `{"traffic":"off"}`) }, 422, "invalid-field", "traffic"},
		"long reason":       {func() reply { return s.send("DELETE", a1+"?reason="+strings.Repeat("x", 1025), "") }, 422, "invalid-field", "reason"},
		"filter":            {func() reply { return s.send("GET", "/v1/services/checkout/instances?stauts=passing", "") }, 422, "invalid-field", "stauts"},
		"ready":             {func() reply { return s.send("GET", "/v1/services/checkout/instances?ready=maybe", "") }, 422, "invalid-field", "ready"},
		"after":             {func() reply { return s.send("GET", "/v1/services?after=-1", "") }, 422, "invalid-field", "after"},
		"wait":              {func() reply { return s.send("GET", "/v1/services?index=1&wait=1y", "") }, 422, "invalid-field", "wait"},
		"command type":      {func() reply { return s.send("POST", "/v1/commands", `{"type":"Explode"}`) }, 422, "invalid-field", "body"},
		"heartbeat keys":    {func() reply { return s.send("POST", "/v1/heartbeats", `{"a":1}`) }, 422, "invalid-field", "body"},
		"too many": {func() reply {
			return s.send("POST", "/v1/heartbeats", "["+strings.Repeat(`"web/a",`, httpapi.MaxBatch)+`"web/a"]`)
		}, 413, "too-many", ""},
		"route":  {func() reply { return s.send("GET", "/v2/nothing", "") }, 404, "no-such-route", ""},
		"method": {func() reply { return s.send("PATCH", a1, "") }, 405, "method-not-allowed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			c.send().problem(t, c.status, c.kind, c.field)
		})
	}
	s.t = t
	after := s.send("GET", "/v1/services", "").want(t, 200)
	if after.Header.Get("Rollcall-Position") != before.Header.Get("Rollcall-Position") {
		t.Errorf("something was written: position %s, before %s", after.Header.Get("Rollcall-Position"), before.Header.Get("Rollcall-Position"))
	}
}

func TestABatchGivesEachItemItsResult(t *testing.T) {
	s := start(t)
	items := []string{
		`{"type":"RegisterInstance","service":"web","id":"1","address":"10.0.0.1"}`,
		`{"type":"RegisterInstance","service":"web","id":"2","address":"10.0.0.2","nonsense":true}`,
		`{"type":"RegisterInstance","service":"web","id":"3","address":"10.0.0.3","ports":{"http":0}}`,
		`{"type":"DeregisterInstance","service":"web","id":"1"}`,
		`{"type":"RegisterInstance","service":"web","id":"4","address":"10.0.0.4"}`,
		`{"type":"SendHeartbeat","service":"web","id":"9"}`,
		`"hello"`,
	}
	for _, send := range []func() reply{
		func() reply { return s.send("POST", "/v1/commands", "["+strings.Join(items, ",")+"]") },
		func() reply {
			return s.send("POST", "/v1/commands", strings.Join(items, "\n"), "Content-Type", "application/x-ndjson")
		},
	} {
		results := send().want(t, 200).batch(t, len(items))
		for i, field := range map[int]string{1: "nonsense", 2: "ports.http", 3: "id", 5: "", 6: "body"} {
			if p := results[i].Problem; p == nil || p.Field != field {
				t.Errorf("item %d gave %+v, want field %q", i, p, field)
			}
		}
		if results[0].Problem != nil || results[0].ID != "1" || results[4].Problem != nil || results[4].ID != "4" {
			t.Errorf("the right items gave %+v and %+v", results[0], results[4])
		}
	}
	var beats wire.BatchResult
	s.send("POST", "/v1/heartbeats", `["web/1","default/web/4","web/5","web/1","a/b/c/d"]`).want(t, 200).json(t, &beats)
	want := []int{0, 1, 2, 3, 4}
	for i, failure := range beats.Failed {
		if failure.Index != want[i+2] {
			t.Errorf("failure %d is of item %d", i, failure.Index)
		}
	}
	if len(beats.Succeeded) != 2 || len(beats.Failed) != 3 || beats.Failed[0].Problem.Type != wire.UnknownInstance || beats.Succeeded[0].ID != "1" || beats.Succeeded[1].Index != 1 {
		t.Errorf("the heartbeats gave %+v", beats)
	}
	deregister := func(match string) wire.BatchItem {
		return s.send("POST", "/v1/commands", `[{"type":"DeregisterInstance","service":"web","id":"1","reason":"x","if_match":`+match+`}]`).want(t, 200).batch(t, 1)[0]
	}
	for match, field := range map[string]string{`""`: "if_match", `"x"`: "if_match", `0`: "if_match", `"\"0\""`: "if_match", `"7"`: ""} {
		if p := deregister(match).Problem; p == nil || p.Field != field || field == "" && p.Type != wire.TypePrefix+"revision-mismatch" {
			t.Errorf("if_match %s gave %+v", match, p)
		}
	}
	if done := deregister(`"0"`); done.Problem != nil {
		t.Errorf("if_match 0 gave %+v", done.Problem)
	}
	if p := s.send("POST", "/v1/commands", `[{"type":"RegisterInstance","service":"web","id":"1","address":"::1","if_match":"*"}]`).want(t, 200).batch(t, 1)[0].Problem; p == nil || p.Type != wire.TypePrefix+"revision-mismatch" {
		t.Errorf("if_match * where nothing is live gave %+v", p)
	}
	s.send("POST", "/v1/commands", `{"type":"RegisterInstance","service":"web","id":"1","address":"::1"}`).problem(t, 422, "invalid-field", "body")
}

// batch is what became of the n items of a batch, in their order.
func (r reply) batch(t *testing.T, n int) []wire.BatchItem {
	t.Helper()
	var result wire.BatchResult
	r.json(t, &result)
	items, ok := result.InOrder(n)
	if !ok {
		t.Fatalf("of %d items a batch told %s", n, r.body)
	}
	return items
}

func TestCatalogQueries(t *testing.T) {
	s := start(t)
	for i := range 6 {
		s.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), fmt.Sprintf(
			`{"address":"10.0.0.%d","tags":["t%d","all"],"zone":"z%d","version":"v%d","metadata":{"k":"%d"},"status":"%s"}`,
			i+1, i%2, i%3, i%2, i%2, []string{"passing", "warning", "critical"}[i%3])).want(t, 201)
	}
	s.send("PUT", "/v1/services/web/instances/0/traffic", `{"traffic":"draining"}`).want(t, 200)
	for query, want := range map[string]string{
		"": "012345", "?ready=true": "134", "?status=critical": "25", "?status=passing&status=warning": "0134", "?status=passing,warning": "0134",
		"?tag=t1": "135", "?tag=all&tag=t0": "024", "?tag=none": "", "?zone=z1": "14", "?version=v1&ready=1": "13", "?meta.k=1": "135", "?meta[k]=1": "135", "?meta%5Bk%5D=1": "135", "?meta.x=": "",
		"?ns=other": "", "?leases=true&zone=z0": "03",
	} {
		var list struct{ Instances []wire.Instance }
		s.send("GET", "/v1/services/web/instances"+query, "").want(t, 200).json(t, &list)
		got := ""
		for _, i := range list.Instances {
			got += i.ID
		}
		if got != want {
			t.Errorf("%s picked %q, want %q", query, got, want)
		}
	}
	var services struct {
		Services []struct{ Instances, Ready int }
	}
	s.send("GET", "/v1/services", "").want(t, 200).json(t, &services)
	if len(services.Services) != 1 || services.Services[0].Instances != 6 || services.Services[0].Ready != 3 {
		t.Errorf("services: %+v", services)
	}
	s.send("GET", "/v1/services?ns=*", "").want(t, 200)
	s.send("GET", "/v1/services/web", "").want(t, 200)
	s.send("GET", "/v1/services/nothing", "").problem(t, 404, "unknown-service", "")
	s.send("GET", "/v1/services/nothing/instances", "").want(t, 200)
}

func TestAnUnchangedCatalogIsNotSentTwice(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for _, path := range []string{"/v1/services", "/v1/services/checkout", "/v1/services/checkout/instances", "/v1/services/checkout/instances?ready=true", a1} {
		tag := s.send("GET", path, "").want(t, 200).Header.Get("ETag")
		s.send("PUT", a1+"/heartbeat", "").want(t, 200)
		if r := s.send("GET", path, "", "If-None-Match", `"other", W/`+tag).want(t, 304); len(r.body) != 0 {
			t.Errorf("%s: a 304 with a body", path)
		}
		s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`).want(t, 200)
		s.send("GET", path, "", "If-None-Match", tag).want(t, 200)
		s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`).want(t, 200)
	}
}

func TestAQueryWaitsForOnesOwnWrites(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for range 50 {
		position := s.send("PUT", a1+"/heartbeat", "").want(t, 200).Header.Get("Rollcall-Position")
		got := s.send("GET", "/v1/services/checkout/instances?after="+position, "").want(t, 200)
		if got.Header.Get("Rollcall-Position") < position && len(got.Header.Get("Rollcall-Position")) <= len(position) {
			t.Fatalf("the catalog is at %s, want %s", got.Header.Get("Rollcall-Position"), position)
		}
	}
}

func TestALongPollIsWokenByTheChange(t *testing.T) {
	s := start(t)
	var list struct {
		Position  string
		Instances []wire.Instance
	}
	path := "/v1/services/checkout/instances"
	s.send("GET", path, "").want(t, 200).json(t, &list)
	for want := 1; want <= 3; want++ {
		polled := make(chan reply, 1)
		go func() { polled <- s.send("GET", path+"?wait=1m&index="+list.Position, "") }()
		s.send("PUT", fmt.Sprintf("%s/%d", path, want), `{"address":"10.0.0.5"}`).want(t, 201)
		(<-polled).want(t, 200).json(t, &list)
		if len(list.Instances) != want {
			t.Fatalf("woken with %d instances, want %d", len(list.Instances), want)
		}
	}
	s.send("PUT", "/v1/services/other/instances/x", `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("GET", path+"?wait=10ms&index="+list.Position, "").want(t, 200) // nothing came: as it is
	s.send("GET", path+"?wait=1m&index=1", "").want(t, 200)                // something has come since: at once
	polled := make(chan reply, 1)
	go func() { polled <- s.send("GET", path+"?wait=1m&index="+list.Position, "") }()
	s.stop()
	(<-polled).want(t, 200)
}

func TestOperations(t *testing.T) {
	s := start(t)
	s.send("GET", "/healthz", "").want(t, 200)
	s.send("GET", "/readyz", "").want(t, 200)
	s.notReady = errors.New("the disk is gone")
	s.send("GET", "/readyz", "").problem(t, 503, "not-ready", "")
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	got := string(s.send("GET", "/metrics", "").want(t, 200).body)
	for _, line := range []string{
		`rollcall_commands_total{command="RegisterInstance",result="ok"} 1`, "rollcall_catalog_instances 1", "rollcall_leases 1",
		"rollcall_append_sync_seconds_count 1", "rollcall_append_seconds_count 1", "rollcall_append_batch_events_sum 1",
		"rollcall_leases_due 0", "rollcall_projection_lag_events 0", "rollcall_self_preservation 0",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	s.send("GET", "/openapi.yaml", "").want(t, 200)
	if got := s.send("GET", a1, "", "X-Request-Id", "mine-1").Header.Get("X-Request-Id"); got != "mine-1" {
		t.Errorf("the request id came back as %q", got)
	}
	if got := s.send("GET", a1, "", "X-Request-Id", `"quoted"`).Header.Get("X-Request-Id"); got == `"quoted"` || got == "" {
		t.Errorf("a request id that is not sane came back as %q", got)
	}
}
