package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

var host = agent.Defaults{Host: "host-1", Address: "10.0.0.5", Zone: "a"}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefinitionsAreReadStrictly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	for text, want := range map[string]string{
		"service: cart": "",
		`{"service": "cart", "ports": {"http": 80}}`:    "",
		"instances:\n- service: cart\n- {service: pay}": "",
		"instances: []": "",
		"service: cart\nchecks: [{kind: http, url: http://127.0.0.1/, interval: 5s}]": "",
		"":                                  "service: must be 1-128 bytes",
		"service: cart\ncolour: red":        "colour: is not a known field",
		"service: cart\nservice: pay":       "line 2",
		"service: [cart]":                   "service: must be a text, not a array",
		"service: cart\nports: {http: web}": "ports: must be a whole number",
		"service: cart\nports: {http: 0}":   "ports.http: must be 1-65535",
		"service: cart\nports: [80]":        "ports: must be an object",
		"service: cart\nttl: soon":          "ttl",
		"service: cart\nttl: 1ms":           "ttl",
		"service: cart\nweight: 0":          "weight: must be at least 1",
		"service: cart\naddress: 0.0.0.0":   "address",
		"service: cart\ndrain: -5s":         "drain: must not be negative",
		"instances: {}":                     "instances: must be a list",
		"instances: []\nservice: cart":      "service: is not known beside instances",
		"instances:\n- service: cart\n- service: cart\n  tags: red":                         "instances[1].tags: must be a list",
		"instances:\n- service: cart\n- service: '-'":                                       "instances[1].service: must",
		"service: cart\nchecks: [{kind: ttl, ttl: 5s}]":                                     "checks[0].kind: must be http, tcp or grpc",
		"service: cart\nchecks: [{kind: http, url: 'http://h/', speed: 5}]":                 "speed",
		"service: cart\nchecks: [{kind: http, url: 'http://h/', interval: 0.1s}]":           "checks[0].interval: must be from 1s to 1h",
		"service: cart\nchecks: [{kind: http, url: 'http://h/', timeout: 20s}]":             "checks[0].timeout: must be from 10ms to the interval, 10s",
		"service: cart\nchecks: [{kind: http, url: 'ftp://h/'}]":                            "checks[0].url: must be an http or https URL",
		"service: cart\nchecks: [{kind: http, url: 'http://h/', failures: 101}]":            "checks[0].failures: must be 1-100",
		"service: cart\nchecks: [{kind: tcp}]":                                              "checks[0].port: must be the name of a port",
		"service: cart\nchecks: [{kind: tcp, port: http, url: 'http://h/'}]":                "checks[0].url: must be left out",
		"service: cart\nchecks: [{kind: tcp, port: a, id: x}, {kind: tcp, port: b, id: x}]": "checks[1].id: must not be the same as checks[0].id",
		"service: cart\nchecks: [" + strings.Repeat("{kind: tcp, port: a}, ", 33) + "]":     "checks: must be at most 32",
		"service: cart\nchecks: [{kind: tcp, port: a, ttl: 5s}]":                            "checks[0].ttl: must be left out",
		"service: cart\nports: {http: 80}\nchecks: [{kind: tcp, port: http}, {}]":           "checks[1].kind",
		"{": "line 1",
	} {
		write(t, file, text)
		_, err := agent.ReadFile(file, host)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !errors.As(err, new(*agent.BadFile)) || !strings.HasPrefix(err.Error(), file+": ") || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	write(t, file, "service: cart")
	all, err := agent.ReadFile(file, host)
	if err != nil || all[0].Key.String() != "default/cart/host-1" || all[0].Details.Address != "10.0.0.5" || all[0].Details.Zone != "a" || all[0].Details.Weight != 100 {
		t.Errorf("the defaults: %+v, %v", all, err)
	}
}

// running runs an agent over a folder of definitions.
type running struct {
	t       *testing.T
	folder  string
	r       *clienttest.Registry
	agent   *agent.Agent
	passing atomic.Bool  // what looks see
	sick    atomic.Value // the id of the check at which looks see a failure
	log     bytes.Buffer // belongs to the test when end has returned
	end     func()
}

func run(t *testing.T, r *clienttest.Registry, folder string, leave bool) *running {
	t.Helper()
	g := &running{t: t, folder: folder, r: r}
	g.passing.Store(true)
	g.agent = agent.New(agent.Options{
		Client: r.Client(client.Options{}), Paths: []string{folder}, Defaults: host, Owner: "agent:host-1", Leave: leave,
		Node: agent.NodeOf("node", host, 7701, "v1"), Logger: slog.New(slog.NewTextHandler(&g.log, nil)),
		Look: func(_ context.Context, c domain.Check, _ domain.Details) (domain.Status, string) {
			if g.passing.Load() && g.sick.Load() != c.ID {
				return domain.Passing, "it answered 200"
			}
			return domain.Critical, "it answered 500"
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.agent.Run(ctx, nil) }()
	g.end = func() { cancel(); <-done }
	return g
}

func (g *running) instance(service, id string) domain.Instance {
	return g.r.Instance(domain.Key{Namespace: "default", Service: service, ID: id})
}

const checked = "service: cart\nports: {http: 80}\nchecks: [{kind: http, url: http://127.0.0.1/healthz, interval: 5s, failures: 2}]"

func TestTheAgentKeepsWhatFilesDefine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "cart.yaml"), checked)
		write(t, filepath.Join(folder, "pay.json"), `{"instances": [{"service": "pay", "id": "p-1"}, {"service": "pay", "id": "p-2"}]}`)
		write(t, filepath.Join(folder, "wrong.yaml"), "service: '-'")
		write(t, filepath.Join(folder, "notes.txt"), "nothing")
		g := run(t, clienttest.New(), folder, true)
		time.Sleep(2 * time.Second)
		for _, key := range [][2]string{{"cart", "host-1"}, {"pay", "p-1"}, {"pay", "p-2"}, {"node", "host-1"}} {
			if i := g.instance(key[0], key[1]); !i.Live() || i.Status != domain.Passing || i.Owner != "agent:host-1" {
				t.Errorf("%v: %+v", key, i)
			}
		}
		if problems := g.agent.Problems(); len(problems) != 1 || !strings.Contains(problems[0].Error(), "wrong.yaml: service:") {
			t.Errorf("the problems are %v", problems)
		}
		g.passing.Store(false)
		time.Sleep(12 * time.Second) // two failures
		if i := g.instance("cart", "host-1"); i.Status != domain.Critical || i.Epoch != 1 || i.Reported != domain.Passing || i.Checks[0].Output != "it answered 500" {
			t.Errorf("after the check failed: %+v", i)
		}
		g.passing.Store(true)
		time.Sleep(6 * time.Second)
		if i := g.instance("cart", "host-1"); i.Status != domain.Passing {
			t.Errorf("after the check passed: %+v", i)
		}
		g.r.Asked()
		time.Sleep(10 * time.Minute)
		if asked := g.r.Asked(); len(asked) > 140 { // 60 or more for heartbeats, 30 for the check, and 20 to compare
			t.Errorf("asked %d times in 10 minutes for 4 instances", len(asked))
		}

		write(t, filepath.Join(folder, "cart.yaml"), checked+"\nversion: v2")
		write(t, filepath.Join(folder, "pay.json"), `{"instances": [{"service": "pay", "id": "p-1"}]}`)
		write(t, filepath.Join(folder, "wrong.yaml"), "service: search")
		time.Sleep(3 * time.Second)
		if i := g.instance("cart", "host-1"); i.Details.Version != "v2" || i.Epoch != 1 {
			t.Errorf("after the change: %+v", i)
		}
		if g.instance("pay", "p-2").Live() || !g.instance("pay", "p-1").Live() || !g.instance("search", "host-1").Live() || len(g.agent.Problems()) != 0 {
			t.Errorf("after the change: %v", g.agent.Problems())
		}
		write(t, filepath.Join(folder, "pay.json"), `{"instances": [{"service": "pay", "id": "p-1", "ports": 7}]}`)
		time.Sleep(3 * time.Second)
		if !g.instance("pay", "p-1").Live() || len(g.agent.Problems()) != 1 {
			t.Errorf("a mistake takes instances out: %v", g.agent.Problems())
		}
		if err := os.Remove(filepath.Join(folder, "pay.json")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if g.instance("pay", "p-1").Live() || len(g.agent.Problems()) != 0 {
			t.Errorf("after the file was removed: %v", g.agent.Problems())
		}
		g.end()
		if g.instance("cart", "host-1").Live() || g.instance("node", "host-1").Live() {
			t.Error("instances stay after the end")
		}
	})
}

func TestTwoFilesMayNotDefineOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "a.yaml"), "service: cart\nversion: first")
		write(t, filepath.Join(folder, "b.yaml"), "service: cart\nversion: second")
		g := run(t, clienttest.New(), folder, true)
		time.Sleep(3 * time.Second)
		if p := g.agent.Problems(); g.instance("cart", "host-1").Details.Version != "first" || len(p) != 1 || !strings.Contains(p[0].Error(), "b.yaml") {
			t.Errorf("%+v, %v", g.instance("cart", "host-1"), p)
		}
		g.end()
	})
}

func TestARestartOfTheAgentIsNotNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, r := t.TempDir(), clienttest.New()
		write(t, filepath.Join(folder, "cart.yaml"), checked)
		g := run(t, r, folder, false)
		time.Sleep(3 * time.Second)
		g.end()
		if !g.instance("cart", "host-1").Live() {
			t.Error("the end of the agent took the instance out")
		}
		time.Sleep(5 * time.Second)
		again := run(t, r, folder, false)
		time.Sleep(3 * time.Second)
		if i := again.instance("cart", "host-1"); i.Epoch != 1 || i.Events != 2 || i.Status != domain.Passing { // registered, and its check passed
			t.Errorf("after the restart: %+v", i)
		}
		again.end()
	})
}

func TestAnInstanceWhoseCheckNeverAnsweredGetsNoTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "cart.yaml"), checked)
		g := run(t, clienttest.New(), folder, true)
		g.passing.Store(false)
		time.Sleep(3 * time.Second)
		if i := g.instance("cart", "host-1"); i.Status != domain.Starting {
			t.Errorf("after one look: %+v", i)
		}
		time.Sleep(6 * time.Second)
		if i := g.instance("cart", "host-1"); !i.Live() || i.Status != domain.Critical {
			t.Errorf("after two: %+v", i)
		}
		g.end()
	})
}

func TestLookupsAreAnsweredWithTheirAge(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache.json")
	ask := func(api *agent.API, path string) (int, map[string]string, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost:7701"
		api.ServeHTTP(w, r)
		return w.Code, map[string]string{"age": w.Header().Get("Age"), "stale": w.Header().Get("Rollcall-Stale")}, w.Body.String()
	}
	none := func() []error { return nil }
	hosts := web.NewHosts("127.0.0.1:7701", nil)
	synctest.Test(t, func(t *testing.T) {
		r := clienttest.New()
		for n := range 3 {
			r.Register("cart", fmt.Sprint("c-", n), fmt.Sprint("10.0.0.", n+1), 80)
		}
		if err := r.Do(domain.ReportHealth{Key: domain.Key{Namespace: "default", Service: "cart", ID: "c-1"}, Status: domain.Critical, Source: domain.FromClient}); err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{Cache: cache})
		api := agent.NewAPI(w, "", hosts, none)
		for path, want := range map[string]string{
			"/v1/services/cart/instances": "c-0 c-1 c-2", "/v1/services/cart/instances?ready=true": "c-0 c-2",
			"/v1/services/cart/instances?status=critical&ns=default": "c-1", "/v1/services/cart/instances?zone=none": "", "/v1/services/nobody/instances": "",
		} {
			status, header, body := ask(api, path)
			var list wire.InstanceList
			if err := json.Unmarshal([]byte(body), &list); err != nil {
				t.Fatalf("%s: %d %s", path, status, body)
			}
			var ids []string
			for _, i := range list.Instances {
				ids = append(ids, i.ID)
			}
			if status != 200 || strings.Join(ids, " ") != want || header["age"] != "0" || header["stale"] != "false" {
				t.Errorf("%s: %d %v %v", path, status, header, ids)
			}
		}
		for path, want := range map[string]int{
			"/v1/services/cart/instances/c-2": 200, "/v1/services/cart/instances/x": 404, "/v1/services/-/instances": 422, "/v1/services/cart/instances?colour=red": 422,
			"/v1/services/cart/instances?max_silence=2": 422, "/v1/services/cart/instances?ns=A": 422, "/v1/services/cart/instances?zone=a&zone=b": 422,
			"/v1/services/cart/instances/c-2?ready=true": 422, "/v1/services/cart/instances?limit=1": 422, "/v1/services/cart/instances?%zz": 400, "/v1/namespaces": 404, "/healthz": 200, "/readyz": 200,
		} {
			if status, _, body := ask(api, path); status != want {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		foreign := httptest.NewRecorder()
		request := httptest.NewRequest("GET", "/v1/services/cart/instances", nil)
		request.Host = "evil.example"
		if api.ServeHTTP(foreign, request); foreign.Code != 421 {
			t.Errorf("another host: %d", foreign.Code)
		}
		end()
		<-w.Done()
	})
	synctest.Test(t, func(t *testing.T) { // both were restarted, and the registry is away
		r := clienttest.New()
		r.SetAway(errors.New("connection refused"))
		time.Sleep(90 * time.Second)
		ctx, end := context.WithCancel(t.Context())
		w := watch.Start(ctx, r.Client(client.Options{}), watch.Options{Cache: cache})
		api := agent.NewAPI(w, "", hosts, none)
		status, header, body := ask(api, "/v1/services/cart/instances?ready=true")
		if status != 200 || strings.Count(body, `"id"`) != 2 || header["age"] != "89" && header["age"] != "90" || header["stale"] != "true" {
			t.Errorf("%d %v %s", status, header, body)
		}
		if status, _, body := ask(api, "/v1/services/other/instances"); status != 503 || !strings.Contains(body, "registry-unreachable") {
			t.Errorf("what the cache lacks: %d %s", status, body)
		}
		end()
		<-w.Done()
	})
}
