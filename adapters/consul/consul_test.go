package consul_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/consul"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/queries"
)

// rig is a registry that speaks Consul's API.
type rig struct {
	*httptest.Server
	t        testing.TB
	face     *consul.Face
	config   consul.Config
	commands *commands.Service
	live     *live.State
	notReady error
	token    func(name string, spec domain.TokenSpec) []string // makes a token, of a registry whose callers need tokens
}

func start(t testing.TB, change ...func(*consul.Config)) *rig {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	store, err := pebblestore.Open(filepath.Join(dir, "events"), pebblestore.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	state, err := live.Open(t.Context(), live.Options{Store: store, Now: time.Now, Logger: logger, Snapshots: projections.Snapshots{Dir: filepath.Join(dir, "snapshots"), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: store.ID(), Logger: logger}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, live: state}
	r.commands = commands.New(store, func() commands.Catalog { return state.Catalog() }, state, nil)
	r.commands.Reach = domain.Reach{Loopback: true}
	stopping, stop := context.WithCancel(context.Background())
	config := consul.Config{
		Commands: r.commands, Queries: &queries.Service{Live: state, Store: store, Now: time.Now, Stopping: stopping},
		NodeName: "registry", NodeID: "8a1e7c4e-0000-0000-0000-000000000001", Address: "127.0.0.1", Version: "test", Ready: func() error { return r.notReady }, Logger: logger,
	}
	for _, f := range change {
		f(&config)
	}
	running, halt := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := state.Run(running); err != nil {
			t.Error(err)
		}
	})
	r.config = config
	r.face = consul.New(config)
	r.Server = httptest.NewUnstartedServer(r.face)
	r.Listener, r.Config.ConnState = r.face.Lane().Listen(r.Listener), r.face.Lane().ConnState
	r.Start()
	t.Cleanup(func() {
		stop()
		r.Close()
		halt()
		group.Wait()
		if err := errors.Join(state.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

type reply struct {
	*http.Response
	body string
}

func (r *rig) send(method, path, body string, header ...string) reply {
	r.t.Helper()
	request, err := http.NewRequest(method, r.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{resp, string(read)}
}

func (r *rig) put(path, body string) {
	r.t.Helper()
	if reply := r.send("PUT", path, body); reply.StatusCode != 200 {
		r.t.Fatalf("PUT %s: %d %s", path, reply.StatusCode, reply.body)
	}
}

func (r *rig) get(path string, into any) (index uint64) {
	r.t.Helper()
	reply := r.send("GET", path, "")
	if reply.StatusCode != 200 {
		r.t.Fatalf("GET %s: %d %s", path, reply.StatusCode, reply.body)
	}
	if err := json.Unmarshal([]byte(reply.body), into); err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, reply.body)
	}
	index, _ = strconv.ParseUint(reply.Header.Get("X-Consul-Index"), 10, 64)
	return index
}

type entry struct {
	Node struct {
		ID, Node, Address, Datacenter string
		Meta                          map[string]string
	}
	Service struct {
		ID, Service, Address, Kind, Namespace string
		Tags                                  []string
		Meta                                  map[string]string
		Port                                  int
		Weights                               struct{ Passing, Warning int }
		EnableTagOverride                     bool
		TaggedAddresses                       map[string]struct {
			Address string
			Port    int
		}
	}
	Checks []struct {
		CheckID, Name, Status, Notes, Output, ServiceID, Type string
		ServiceTags                                           []string
	}
}

// says is what the health of a service says of its instances, as "id status,status".
func (r *rig) says(path string) string {
	r.t.Helper()
	var entries []entry
	r.get(path, &entries)
	var all []string
	for _, e := range entries {
		var checks []string
		for _, c := range e.Checks {
			checks = append(checks, c.CheckID+"="+c.Status)
		}
		all = append(all, e.Service.ID+" "+strings.Join(checks, ","))
	}
	return strings.Join(all, "; ")
}

const web = `{"ID":"web:1/a b","Name":"Web","Tags":["v1","","v1","b"],"Address":"10.0.0.5","Port":8080,"Meta":{"k-1":"v","k_2":""},
	"TaggedAddresses":{"http":{"Address":"http://10.0.0.5:8080","Port":8080}},"Weights":{"Passing":10,"Warning":2},"EnableTagOverride":true,"Kind":"",
	"Unknown":1,"Check":null,"Checks":[{"TTL":"10s","DeregisterCriticalServiceAfter":"1m"}]}`

func TestARegistrationComesBackAsItWas(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", web)
	var entries []entry
	if index := r.get("/v1/health/service/Web", &entries); index == 0 || len(entries) != 1 {
		t.Fatalf("index %d, %+v", index, entries)
	}
	e := entries[0]
	if e.Node.Node != "ip-127-0-0-1" || e.Node.Address != "127.0.0.1" || e.Node.Datacenter != "dc1" || e.Node.ID == "" {
		t.Errorf("the node is %+v", e.Node)
	}
	s := e.Service
	if s.ID != "web:1/a b" || s.Service != "Web" || s.Address != "10.0.0.5" || s.Port != 8080 || !reflect.DeepEqual(s.Tags, []string{"v1", "", "v1", "b"}) ||
		!reflect.DeepEqual(s.Meta, map[string]string{"k-1": "v", "k_2": ""}) || s.Weights.Passing != 10 || s.Weights.Warning != 2 || !s.EnableTagOverride || s.Namespace != "" {
		t.Errorf("the service is %+v", s)
	}
	if got := s.TaggedAddresses; got["http"].Address != "http://10.0.0.5:8080" || got["lan_ipv4"].Address != "10.0.0.5" || got["wan_ipv4"].Port != 8080 || len(got) != 3 {
		t.Errorf("the tagged addresses are %+v", got)
	}
	if c := e.Checks; len(c) != 1 || c[0].CheckID != "service:web:1/a b" || c[0].Status != "critical" || c[0].Type != "ttl" || c[0].ServiceID != s.ID {
		t.Errorf("the checks are %+v", c)
	}
	for path, want := range map[string]string{
		"/v1/health/service/wEB?passing":                               "",
		"/v1/health/service/Web?tag=V1&tag=b":                          "web:1/a b service:web:1/a b=critical",
		"/v1/health/service/Web?tag=v2":                                "",
		"/v1/health/service/Web?near=_agent&cached=":                   "web:1/a b service:web:1/a b=critical",
		"/v1/health/service/Web?node-meta=a:b":                         "",
		"/v1/health/service/other":                                     "",
		"/v1/health/service/Web?peer=elsewhere":                        "",
		"/v1/health/service/Web?peer=":                                 "web:1/a b service:web:1/a b=critical",
		"/v1/health/connect/Web":                                       "",
		"/v1/health/service/Web?filter=Service.Meta%5B%22k-1%22%5D==v": "web:1/a b service:web:1/a b=critical",
		"/v1/health/service/Web?filter=Service.Port==1":                "",
		"/v1/health/service/Web?filter=Checks.Status==critical":        "web:1/a b service:web:1/a b=critical",
		"/v1/health/service/Web?filter=%22b%22+in+Service.Tags":        "web:1/a b service:web:1/a b=critical",
		"/v1/health/service/Web?filter=Node.Node+matches+%22%5Eip-%22": "web:1/a b service:web:1/a b=critical",
	} {
		if got := r.says(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	var services map[string][]string
	r.get("/v1/catalog/services", &services)
	if !reflect.DeepEqual(services, map[string][]string{"Web": {"v1", "", "b"}}) {
		t.Errorf("the services are %v", services)
	}
	var rows []struct{ Node, ServiceID, ServiceName, ServiceAddress string }
	r.get("/v1/catalog/service/web", &rows)
	if len(rows) != 1 || rows[0].ServiceID != "web:1/a b" || rows[0].ServiceAddress != "10.0.0.5" {
		t.Errorf("the rows are %+v", rows)
	}
}

func TestATTLCheckIsReportedAndLasts(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", web)
	for _, c := range [][2]string{{"pass", "passing"}, {"warn", "warning"}, {"fail", "critical"}} {
		r.put("/v1/agent/check/"+c[0]+"/service:web:1%2Fa%20b?note=because", "")
		if got := r.says("/v1/health/service/Web"); got != "web:1/a b service:web:1/a b="+c[1] {
			t.Errorf("after %s: %s", c[0], got)
		}
	}
	r.put("/v1/agent/check/update/service:web:1%2Fa%20b", `{"Status":"passing","Output":"`+strings.Repeat("x", 9000)+`"}`)
	var entries []entry
	r.get("/v1/health/service/Web?passing=1", &entries)
	if len(entries) != 1 || !strings.HasSuffix(entries[0].Checks[0].Output, "(captured 4096 of 9000 bytes)") {
		t.Errorf("after the update: %+v", entries)
	}
	r.put("/v1/agent/service/register", web) // keeps the status
	if got := r.says("/v1/health/service/Web"); got != "web:1/a b service:web:1/a b=passing" {
		t.Errorf("after another registration: %s", got)
	}
	for path, status := range map[string]int{"/v1/agent/check/pass/nobody": 404, "/v1/agent/check/update/": 404, "/v1/agent/check/pass/Service%20'Web'%20check": 404} {
		if got := r.send("PUT", path, `{"Status":"passing"}`); got.StatusCode != status || !strings.Contains(got.body, "Unknown check ID") {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	result := r.commands.Do(t.Context(), commands.Caller{Actor: "test"}, commands.Request{Command: domain.LapseCheck{Key: domain.Key{Namespace: "default", Service: "Web", ID: "web:1~2fa~20b"}, Epoch: 1, Check: "service:web:1~2fa~20b"}})
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	r.get("/v1/health/service/Web", &entries)
	if c := entries[0].Checks[0]; c.Status != "critical" || !strings.HasPrefix(c.Output, "TTL expired (last output before timeout follows): xxx") {
		t.Errorf("after it lapsed: %+v", c)
	}
	if got := r.send("GET", "/v1/agent/check/warn/service:web:1%2Fa%20b", ""); got.StatusCode != 200 { // as clients of old sent it
		t.Errorf("by GET: %d %s", got.StatusCode, got.body)
	}
	if got := r.send("GET", "/v1/agent/check/warn/service:web:1%2Fa%20b", "", "Origin", "http://elsewhere.example"); got.StatusCode != 403 {
		t.Errorf("by GET from a page of another site: %d %s", got.StatusCode, got.body)
	}
}

func TestChecksOfAServiceAreToldApart(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"15s","Status":"passing"},"Checks":[{"CheckID":"mine","TTL":"30s"},{"http":"http://127.0.0.1:1/","interval":"10s","timeout":"20s"}]}`)
	if got, want := r.says("/v1/health/service/web"), "web service:web:1=passing,mine=critical,service:web:3=critical"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.put("/v1/agent/check/register", `{"ID":"mine","Name":"again","ServiceID":"web","TTL":"20s","Status":"passing"}`)
	r.put("/v1/agent/check/register", `{"Name":"fourth","ServiceID":"web","TCP":"127.0.0.1:1","Interval":"10s"}`)
	if got, want := r.says("/v1/health/service/web"), "web service:web:1=passing,mine=passing,service:web:3=critical,fourth=critical"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := r.send("PUT", "/v1/agent/check/pass/fourth", ""); got.StatusCode != 500 || got.body != `CheckID "fourth" does not have associated TTL` {
		t.Errorf("a report of a probed check: %d %s", got.StatusCode, got.body)
	}
	r.put("/v1/agent/service/register", `{"Name":"web","Port":81,"Check":{"CheckID":"mine","TTL":"15s"}}`)
	if got, want := r.says("/v1/health/service/web"), "web mine=passing,service:web:1=passing,service:web:3=critical,fourth=critical"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.put("/v1/agent/service/register?replace-existing-checks=true", `{"Name":"web","Port":81,"Check":{"CheckID":"mine","TTL":"15s"}}`)
	if got, want := r.says("/v1/health/service/web?passing"), "web mine=passing"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.put("/v1/agent/check/deregister/mine", "")
	if got := r.says("/v1/health/service/web?passing"); got != "web " {
		t.Errorf("without checks: %q", got)
	}
	var checks []struct{ CheckID string }
	r.get("/v1/health/state/any", &checks)
	if len(checks) != 0 {
		t.Errorf("a service without checks has %v", checks)
	}
}

func TestExistingChecksAreReplacedWhereThatIsAskedFor(t *testing.T) {
	for query, want := range map[string]string{"": "web service:web=passing", "=true": "web ", "=false": "web service:web=passing", "=1": "web service:web=passing", "=maybe": "web service:web=passing"} {
		r := start(t)
		r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"1h","Status":"passing"}}`)
		path := "/v1/agent/service/register?replace-existing-checks" + query
		if query == "" {
			path = "/v1/agent/service/register"
		}
		r.put(path, `{"Name":"web","Port":80}`)
		if got := r.says("/v1/health/service/web"); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
		r.put("/v1/agent/service/register?replace-existing-checks", `{"Name":"web","Port":80}`)
		if got := r.says("/v1/health/service/web"); got != "web " {
			t.Errorf("without a value: %s", got)
		}
	}
}

func TestMaintenanceIsACheck(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	r.put("/v1/agent/service/maintenance/web?enable=true&reason=broken+disk", "")
	var entries []entry
	r.get("/v1/health/service/web", &entries)
	if c := entries[0].Checks; len(c) != 1 || c[0].CheckID != "_service_maintenance:web" || c[0].Name != "Service Maintenance Mode" || c[0].Status != "critical" || c[0].Notes != "broken disk" {
		t.Errorf("the checks are %+v", c)
	}
	if got := r.send("GET", "/v1/agent/health/service/id/web?format=text", ""); got.StatusCode != 503 || got.body != "maintenance" {
		t.Errorf("the health is %d %s", got.StatusCode, got.body)
	}
	r.put("/v1/agent/service/maintenance/web?enable=false", "")
	if got := r.send("GET", "/v1/agent/health/service/name/web", ""); got.StatusCode != 200 || !strings.Contains(got.body, `"AggregatedStatus":"passing"`) {
		t.Errorf("the health is %d %s", got.StatusCode, got.body)
	}
	r.put("/v1/agent/maintenance?enable=true", "")
	if got := r.says("/v1/health/service/web?passing"); got != "" {
		t.Errorf("of a node in maintenance: %s", got)
	}
}

func TestBlockingQueries(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"15s","Status":"passing"}}`)
	var entries []entry
	index := r.get("/v1/health/service/web", &entries)
	blocked := make(chan string, 1)
	wait := func(path string) {
		go func() {
			reply := r.send("GET", path, "")
			blocked <- reply.Header.Get("X-Consul-Index") + " " + strconv.Itoa(reply.StatusCode)
		}()
	}
	quiet := func(what string) {
		t.Helper()
		select {
		case got := <-blocked:
			t.Fatalf("%s: answered %s", what, got)
		case <-time.After(200 * time.Millisecond):
		}
	}
	answered := func(what string) uint64 {
		t.Helper()
		select {
		case got := <-blocked:
			text, _, _ := strings.Cut(got, " ")
			n, _ := strconv.ParseUint(text, 10, 64)
			return n
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: not answered", what)
			return 0
		}
	}
	at := func(path string, index uint64) string { return fmt.Sprintf("%s?index=%d&wait=10m", path, index) }

	wait(at("/v1/health/service/web", index))
	quiet("nothing happened")
	for range 20 {
		r.put("/v1/agent/check/pass/service:web", "")
	}
	r.put("/v1/agent/service/register", `{"Name":"other","Port":80}`)
	quiet("heartbeats and another service")
	r.put("/v1/agent/check/fail/service:web", "")
	next := answered("a change")
	if next <= index {
		t.Errorf("the index went from %d to %d", index, next)
	}
	services := r.get("/v1/catalog/services", &map[string][]string{})
	wait(at("/v1/catalog/services", services))
	r.put("/v1/agent/check/pass/service:web", "")
	quiet("health is no part of the services")
	r.put("/v1/agent/service/register", `{"Name":"other","Port":81}`)
	if got := answered("an update"); got <= services {
		t.Errorf("the index of the services went from %d to %d", services, got)
	}

	unknown := r.get("/v1/health/service/nobody", &entries)
	if unknown == 0 {
		t.Error("an unknown service has the index 0")
	}
	wait(at("/v1/health/service/nobody", unknown))
	r.put("/v1/agent/check/pass/service:web", "")
	quiet("of an unknown service")
	r.put("/v1/agent/service/register", `{"Name":"Nobody","Port":80}`)
	began := answered("the service came")
	wait(at("/v1/health/service/nobody", began))
	r.put("/v1/agent/service/deregister/Nobody", "")
	gone := answered("the service went")
	if began <= unknown || gone <= began {
		t.Errorf("the index went from %d to %d and %d", unknown, began, gone)
	}
	if again := r.get("/v1/health/service/nobody", &entries); again < gone {
		t.Errorf("the index fell from %d to %d", gone, again)
	}
	if ahead := r.get("/v1/health/service/web?index=99999999", &entries); ahead > 1000 {
		t.Errorf("ahead of the log: %d", ahead)
	}
	reply := r.send("GET", "/v1/kv/fabio/config?recurse=", "")
	if reply.StatusCode != 404 || reply.Header.Get("X-Consul-Index") == "" || reply.body != "" {
		t.Errorf("a key: %d %v %q", reply.StatusCode, reply.Header, reply.body)
	}
	key, _ := strconv.ParseUint(reply.Header.Get("X-Consul-Index"), 10, 64)
	if list := r.send("GET", "/v1/health/connect/web?index=1&wait=100ms", ""); list.body != "[]" || list.Header.Get("X-Consul-Index") == "" {
		t.Errorf("a list that is always empty: %s", list.body)
	}
	began2 := time.Now()
	r.send("GET", fmt.Sprintf("/v1/health/connect/web?index=%d&wait=200ms", key), "")
	if took := time.Since(began2); took < 200*time.Millisecond {
		t.Errorf("a list that is always empty blocked for %s", took)
	}
	began2 = time.Now()
	r.send("GET", fmt.Sprintf("/v1/kv/fabio/config?recurse=&index=%d&wait=300ms", key), "")
	if took := time.Since(began2); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("a key blocked for %s", took)
	}
}

func TestWhatConsulRefusesIsRefusedInItsWords(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"PUT", "/v1/agent/service/register", `{`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/register", ``, 400, "Request decode failed: EOF"},
		{"PUT", "/v1/agent/service/register", `[]`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/register", `{"Port":1}`, 400, "Missing service name"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Address":"0.0.0.0"}`, 400, "Invalid service address"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Address":"::"}`, 400, "Invalid service address"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Port":70000}`, 400, "Invalid port"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Weights":{"Passing":0,"Warning":1}}`, 400, "Invalid Weights: Passing must be greater than 0"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Weights":{"Passing":1,"Warning":-1}}`, 400, "Invalid Weights: Warning must be greater or equal than 0"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Weights":{"Passing":1,"Warning":65536}}`, 400, "Invalid Weights: DNS Weight must be between 0 and 65535"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Meta":{"a b":"c"}}`, 400, "Invalid Service Meta"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Check":{"Interval":"1s","TTL":"1s"}}`, 400, "Invalid check: Interval and TTL cannot both be specified"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Check":{"HTTP":"http://a/"}}`, 400, "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Check":{"Name":"x"}}`, 400, "Invalid check: TTL must be > 0 for TTL checks"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Check":{"TTL":"1s","Status":"fine"}}`, 400, "Status for checks must 'passing', 'warning', 'critical'"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Check":{"Args":["x"],"Interval":"1s"}}`, 500, "Scripts are disabled on this agent"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a/b"}`, 400, "Invalid"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","TaggedAddresses":{"x":{"Address":"10.0.0.1","Port":-1}}}`, 400, "Invalid port: -1 must be from 0 to 65535"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","TaggedAddresses":{"x":{"Address":"10.0.0.1","Port":65536}}}`, 400, "Invalid port"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","TaggedAddresses":{"lan_ipv4":{"Address":"::1"}}}`, 400, "Invalid TaggedAddresses: lan_ipv4 must be an address of its family"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","TaggedAddresses":{"wan_ipv6":{"Address":"a.example"}}}`, 400, "Invalid TaggedAddresses: wan_ipv6"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Proxy":"x"}`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Proxy":{"LocalServicePort":"80"}}`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Proxy":{"Upstreams":[{"LocalBindPort":1.5}]}}`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Connect":{"Native":"yes"}}`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Connect":{"SidecarService":{"Proxy":{"Upstreams":{}}}}}`, 400, "Request decode failed"},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","Service":{"Service":"a","TaggedAddresses":{"x":{"Port":-1}}}}`, 400, "Invalid port"},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","Service":{"Service":"a","Proxy":[]}}`, 400, "Request decode failed"},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","Check":{"Name":"c","Definition":{"Interval":"often"}}}`, 400, "Request decode failed"},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","Check":{"Name":"c","Definition":{"Header":{"X":"y"}}}}`, 400, "Request decode failed"},
		{"PUT", "/v1/agent/service/deregister/nobody", ``, 404, `Unknown service ID "nobody". Ensure that the service ID is passed, not the service name.`},
		{"PUT", "/v1/agent/service/maintenance/web", ``, 400, "Missing value for enable"},
		{"PUT", "/v1/agent/service/maintenance/web?enable=x", ``, 400, "Invalid value for enable"},
		{"PUT", "/v1/agent/service/maintenance/nobody?enable=true", ``, 404, "Unknown service ID"},
		{"PUT", "/v1/agent/check/register", `{"TTL":"1s"}`, 400, "Missing check name"},
		{"PUT", "/v1/agent/check/register", `{"Name":"a","TTL":"1s","ServiceID":"nobody"}`, 404, `ServiceID "nobody" does not exist`},
		{"PUT", "/v1/agent/check/register", `{"Name":"a","TTL":"1s","Status":"x","ServiceID":"web"}`, 400, "Bad check status"},
		{"PUT", "/v1/agent/check/update/x", `{"Status":"fine"}`, 400, "Invalid check status: 'fine'"},
		{"GET", "/v1/agent/service/nobody", ``, 404, "unknown service ID: nobody"},
		{"GET", "/v1/health/service/web?index=x", ``, 400, "Invalid index"},
		{"GET", "/v1/health/service/web?wait=x", ``, 400, "Invalid wait time"},
		{"GET", "/v1/health/service/web?passing=x", ``, 400, "Invalid value for ?passing"},
		{"GET", "/v1/health/service/web?stale&consistent", ``, 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
		{"GET", "/v1/health/service/web?dc=dc2", ``, 500, "No path to datacenter"},
		{"GET", "/v1/health/service/web?ns=*", ``, 400, `Invalid query parameter: "ns"`},
		{"GET", "/v1/health/service/web?partition=x", ``, 400, `Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Partition":"x"}`, 400, `Invalid body: "Partition" - Partitions are a Consul Enterprise feature`},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Namespace":"*"}`, 400, `Invalid body: "Namespace"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"a","Namespace":"x","Check":{"TTL":"1m","Namespace":"y"}}`, 400, `Invalid body: "Namespace"`},
		{"PUT", "/v1/agent/check/register", `{"Name":"a","TTL":"1m","ServiceID":"web","Partition":"x"}`, 400, `Invalid body: "Partition"`},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","Partition":"x"}`, 400, `Invalid body: "Partition"`},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","Service":{"Service":"a","Namespace":"x"},"Check":{"Name":"c","Namespace":"y"}}`, 400, `Invalid body: "Namespace"`},
		{"PUT", "/v1/catalog/deregister", `{"Node":"a","Partition":"x"}`, 400, `Invalid body: "Partition"`},
		{"GET", "/v1/health/service/web?filter=Nothing==1", ``, 400, ""},
		{"GET", "/v1/health/service/web?filter=((", ``, 400, "Failed to create boolean expression evaluator"},
		{"GET", "/v1/health/service/", ``, 400, "Missing service name"},
		{"GET", "/v1/health/service/web?wait=5", ``, 400, "Invalid wait time"},
		{"GET", "/v1/health/service/web?index=-1", ``, 400, "Invalid index"},
		{"GET", "/v1/health/service/web?index=99999999999999999999", ``, 400, "Invalid index"},
		{"GET", "/v1/health/service/web?filter=Service.Port+matches+8", ``, 400, `Failed to create boolean expression evaluator: Invalid match operator`},
		{"GET", "/v1/health/service/nobody?filter=Nothing==1", ``, 400, `Failed to create boolean expression evaluator: Selector "Nothing" is not valid`},
		{"GET", "/v1/health/state/", ``, 400, "Missing check state"},
		{"GET", "/v1/health/node/", ``, 400, "Missing node name"},
		{"GET", "/v1/health/checks/", ``, 400, "Missing service name"},
		{"GET", "/v1/catalog/node/", ``, 400, "Missing node name"},
		{"GET", "/v1/catalog/node-services/", ``, 400, "Missing node name"},
		{"GET", "/v1/agent/health/service/id/nobody?format=text", ``, 404, "ServiceId nobody not found"},
		{"GET", "/v1/agent/health/service/name/nobody?format=text", ``, 404, "ServiceName nobody Not Found"},
		{"GET", "/v1/nothing", ``, 404, "Invalid URL path: not a recognized HTTP API endpoint"},
		{"GET", "/v1/agent/service/register", ``, 405, "method GET not allowed"},
		{"PUT", "/v1/kv/a", `x`, 501, "Rollcall keeps no keys and values"},
		{"PUT", "/v1/session/create", `{}`, 501, "Rollcall keeps no sessions"},
		{"PUT", "/v1/txn", `[]`, 501, "Rollcall"},
		{"GET", "/v1/query", ``, 501, "Rollcall"},
		{"GET", "/v1/peerings", ``, 501, "Rollcall has no peerings"},
		{"GET", "/v1/imported-services", ``, 501, "Rollcall has no peerings"},
		{"PUT", "/v1/coordinate/update", `{}`, 501, "Rollcall keeps no coordinates"},
		{"GET", "/v1/acl/tokens", ``, 401, "ACL support disabled"},
		{"PUT", "/v1/agent/leave", ``, 501, "there is no agent"},
		{"PUT", "/v1/agent/token/default", `{}`, 501, "agents have no tokens"},
		{"GET", "/v1/catalog/gateway-services/web", ``, 501, "Rollcall is no service mesh"},
		{"PUT", "/v1/catalog/register", `{"Node":"a"}`, 500, "Must provide node and address"},
		{"PUT", "/v1/catalog/register", `{"Node":"a","SkipNodeUpdate":true}`, 500, "Must provide node and address"},
		{"PUT", "/v1/catalog/register", `{"Node":"a","Address":"10.0.0.1","ID":"x"}`, 500, "Bad node ID"},
		{"PUT", "/v1/catalog/deregister", `{}`, 400, "Missing node name"},
	} {
		got := r.send(c.method, c.path, c.body)
		if got.StatusCode != c.status || !strings.HasPrefix(got.body, c.text) || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s %s %s: %d %q, want %d %q", c.method, c.path, c.body, got.StatusCode, got.body, c.status, c.text)
		}
	}
}

func TestEqualIDsOfTwoNodesStayApart(t *testing.T) {
	r := start(t)
	for _, n := range []string{"one", "two"} {
		r.put("/v1/catalog/register", `{"Node":"`+n+`","Address":"10.0.0.`+map[string]string{"one": "1", "two": "2"}[n]+`","Service":{"ID":"web","Service":"web","Port":80},"Check":{"Status":"passing","ServiceID":"web"}}`)
	}
	var entries []entry
	r.get("/v1/health/service/web", &entries)
	if len(entries) != 2 || entries[0].Service.ID != "web" || entries[1].Service.ID != "web" || entries[0].Node.Node == entries[1].Node.Node || entries[0].Node.ID == entries[1].Node.ID || entries[1].Node.Address == "" {
		t.Fatalf("the instances are %+v", entries)
	}
	var nodes []struct{ Node string }
	r.get("/v1/catalog/nodes", &nodes)
	if len(nodes) != 2 || nodes[0].Node != "one" {
		t.Errorf("the nodes are %v", nodes)
	}
	r.put("/v1/catalog/deregister", `{"Node":"one","ServiceID":"web"}`)
	r.get("/v1/health/service/web", &entries)
	if len(entries) != 1 || entries[0].Node.Node != "two" {
		t.Errorf("afterwards: %+v", entries)
	}
	// An id moves to the name that it registered with last.
	r.put("/v1/agent/service/register", `{"ID":"x","Name":"old"}`)
	r.put("/v1/agent/service/register", `{"ID":"x","Name":"new"}`)
	var services map[string][]string
	r.get("/v1/catalog/services", &services)
	if _, old := services["old"]; old || services["new"] == nil {
		t.Errorf("the services are %v", services)
	}
}

func TestNativeInstancesAreSeen(t *testing.T) {
	r := start(t)
	register := func(id string, status domain.Status) {
		t.Helper()
		d := domain.Details{Address: "10.0.0.9", Ports: map[string]uint16{"http": 8080}, Weight: domain.DefaultWeight, TTL: domain.Duration(30 * time.Second), Status: status}
		if result := r.commands.Do(t.Context(), commands.Caller{Actor: "test"}, commands.Request{Command: domain.RegisterInstance{Key: domain.Key{Namespace: "default", Service: "web", ID: id}, Details: d}}); result.Err != nil {
			t.Fatal(result.Err)
		}
	}
	register("a", domain.Passing)
	register("b", domain.Starting)
	if got, want := r.says("/v1/health/service/web"), "a service:a=passing; b service:b=critical"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var entries []entry
	r.get("/v1/health/service/web?passing", &entries)
	if len(entries) != 1 || entries[0].Node.Node != "ip-10-0-0-9" || entries[0].Service.Port != 8080 || entries[0].Service.Weights.Passing != 1 {
		t.Errorf("a native instance is %+v", entries)
	}
}

func TestTheAgentSaysWhoItIs(t *testing.T) {
	r := start(t)
	var self struct{ Config map[string]any }
	r.get("/v1/agent/self", &self)
	if self.Config["Datacenter"] != "dc1" || self.Config["NodeName"] != "registry" {
		t.Errorf("self is %v", self)
	}
	for path, want := range map[string]string{
		"/v1/status/leader": `"127.0.0.1:8300"`, "/v1/status/peers": `["127.0.0.1:8300"]`, "/v1/catalog/datacenters": `["dc1"]`, "/v1/catalog/node/nobody": `null`,
		"/v1/health/state/any": `[]`, "/v1/health/state/fine": `[]`, "/v1/agent/members?filter=Name==nobody": `[]`, "/v1/catalog/services": `{}`, "/v1/agent/services": `{}`, "/v1/agent/checks": `{}`, "/v1/coordinate/nodes": `[]`, "/v1/coordinate/node/a": `[]`,
	} {
		if got := r.send("GET", path, ""); got.body != want {
			t.Errorf("%s: %s, want %s", path, got.body, want)
		}
	}
	var members []struct {
		Name   string
		Tags   map[string]string
		Status int
	}
	r.get("/v1/agent/members?filter=Tags.role==consul", &members)
	if len(members) != 1 || members[0].Name != "registry" || members[0].Status != 1 {
		t.Errorf("the members are %+v", members)
	}
	if got := r.send("GET", "/v1/catalog/datacenters?pretty", ""); got.body != "[\n    \"dc1\"\n]\n" {
		t.Errorf("pretty is %q", got.body)
	}
	r.notReady = errors.New("the disk is full")
	if got := r.send("GET", "/v1/status/leader", ""); got.body != `""` {
		t.Errorf("the leader of a registry that is not ready is %s", got.body)
	}
	got := r.send("GET", "/v1/health/service/web", "")
	for name, want := range map[string]string{"X-Consul-Knownleader": "false", "X-Consul-Lastcontact": "0", "X-Consul-Default-Acl-Policy": "allow", "X-Consul-Index": "1", "X-Consul-Effective-Consistency": "leader"} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
}

func TestRepliesAreCompressed(t *testing.T) {
	r := start(t)
	for n := range 10 {
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"web-%d","Name":"web","Port":80}`, n))
	}
	plain := r.send("GET", "/v1/health/service/web", "", "Accept-Encoding", "identity")
	small := r.send("GET", "/v1/health/service/web", "", "Accept-Encoding", "gzip")
	unzipped, err := gzip.NewReader(strings.NewReader(small.body))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(unzipped)
	if err != nil || string(body) != plain.body || len(small.body) >= len(plain.body)/2 || small.Header.Get("Content-Encoding") != "gzip" || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("%v: %d bytes for %d", err, len(small.body), len(plain.body))
	}
	head := r.send("HEAD", "/v1/health/service/web", "", "Accept-Encoding", "identity")
	if head.body != "" || head.Header.Get("Content-Length") != strconv.Itoa(len(plain.body)) || head.Header.Get("X-Consul-Index") != plain.Header.Get("X-Consul-Index") {
		t.Errorf("HEAD: %v %q", head.Header, head.body)
	}
	r.put("/v1/agent/service/maintenance/web-3?enable=true", "")
	if got := r.says("/v1/health/service/web?passing"); strings.Contains(got, "web-3") || !strings.Contains(got, "web-4") {
		t.Errorf("after a change: %s", got)
	}
}

func FuzzRequests(f *testing.F) {
	r := start(f)
	f.Add("/v1/agent/service/register", "replace-existing-checks=", web)
	f.Add("/v1/agent/check/register", "", `{"Name":"a","TTL":"1s","ServiceID":"web"}`)
	f.Add("/v1/agent/check/update/service:web", "", `{"Status":"passing","Output":"x"}`)
	f.Add("/v1/catalog/register", "", `{"Node":"n","Address":"10.0.0.1","Service":{"Service":"web","Weights":{"Passing":0}},"Checks":[null]}`)
	f.Add("/v1/catalog/deregister", "ns=x", `{"Node":"n"}`)
	f.Add("/v1/agent/check/register", "", `{"Name":"disk","TTL":"1s","Status":"passing"}`)
	f.Add("/v1/agent/maintenance", "enable=true&reason=x", " ")
	f.Add("/v1/catalog/register", "", `{"Node":"n/1","Address":"::1","NodeMeta":{"a":""},"Checks":[{"Status":"warning","Output":"\u0000"},{"CheckID":"x","ServiceID":"web","Definition":{"a":1}}]}`)
	f.Add("/v1/catalog/nodes", "peer=&node-meta=a:&pretty", "")
	f.Add("/v1/health/service/web", "filter=Service.Meta.a+==+1&tag=&passing&near=_agent&node-meta=a:b:c&index=1&wait=1ns&pretty", "")
	f.Add("/v1/health/state/any", `filter="a"+in+ServiceTags+and+not+(Status+matches+"^p")`, "")
	f.Add("/v1/catalog/services", "filter=ServiceMeta[\"a\"]+is+empty&dc=dc1&stale&cached", "")
	f.Add("/v1/agent/service/web", "hash=1&wait=1ms", "")
	f.Fuzz(func(t *testing.T, path, query, body string) {
		method := "PUT"
		if body == "" {
			method = "GET"
		}
		if strings.Contains(query, "wait") || strings.Contains(query, "index") {
			query += "&wait=1ms" // the first counts, and a blocked request blocks the fuzzing
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		request := httptest.NewRequestWithContext(ctx, method, "/", strings.NewReader(body))
		request.URL.Path, request.URL.RawQuery, request.Host = path, query, "localhost"
		answer := httptest.NewRecorder()
		r.Config.Handler.ServeHTTP(answer, request)
		if answer.Code == 500 && strings.Contains(answer.Body.String(), "panic") {
			t.Errorf("%s %s?%s %s: %s", method, path, query, body, answer.Body)
		}
		if strings.Contains(answer.Header().Get("Content-Type"), "json") && !json.Valid(answer.Body.Bytes()) && answer.Header().Get("Content-Encoding") == "" {
			t.Errorf("%s %s?%s: no JSON: %s", method, path, query, answer.Body)
		}
	})
}
