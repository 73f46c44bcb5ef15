package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// imports runs an import into a registry once, and says what it did.
func (r *registry) imports(from string) string {
	r.t.Helper()
	out, err := exec.Command(binary, "import", "consul", "--from", from, "--url", r.url).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// history is what the native API says of a service's events, one line for each.
func (r *registry) history(t *testing.T, service string) (lines []string) {
	t.Helper()
	var page struct {
		Entries []struct{ Type, Via, Summary string }
	}
	_, err := getJSON(t.Context(), r.url+"/v1/services/"+service+"/history?limit=500", &page)
	must(t, err)
	for _, e := range page.Entries {
		lines = append(lines, e.Type+" "+e.Via+" "+e.Summary)
	}
	return lines
}

func TestACatalogIsImportedAndFollowed(t *testing.T) {
	source, here := start(t), start(t)
	from := "http://" + source.address
	agent := source.client().Agent()
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "a:1/x", Name: "Web", Port: 80, Tags: []string{"v1", "v1"}, Meta: map[string]string{"team": "shop"},
		TaggedAddresses: map[string]api.ServiceAddress{"http": {Address: "http://127.0.0.1", Port: 80}}, Check: &api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing}}))
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "b", Name: "Web", Port: 81, Check: &api.AgentServiceCheck{TTL: "1h"}}))
	for n, node := range []string{"one", "two"} { // the same id at two nodes
		_, err := source.client().Catalog().Register(&api.CatalogRegistration{Node: node, Address: fmt.Sprintf("10.0.0.%d", n+1), Service: &api.AgentService{ID: "db", Service: "db", Port: 5432}}, nil)
		must(t, err)
	}

	if got, want := here.imports(from), "2 services: 4 instances registered or changed, 0 deregistered, 0 refused"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	there, _, err := source.client().Health().Service("Web", "", false, nil)
	must(t, err)
	copied, _, err := here.client().Health().Service("web", "", false, nil)
	must(t, err)
	if len(copied) != 2 {
		t.Fatalf("copied %+v", copied)
	}
	for n := range there {
		want, got := there[n], copied[n]
		if got.Service.ID != want.Service.ID || got.Node.Node != want.Node.Node || got.Node.ID != want.Node.ID || fmt.Sprint(got.Service.Tags, got.Service.Meta, got.Service.TaggedAddresses, got.Service.Port) != fmt.Sprint(want.Service.Tags, want.Service.Meta, want.Service.TaggedAddresses, want.Service.Port) {
			t.Errorf("copied %+v of %+v, want %+v", got.Service, got.Node, want.Service)
		}
		if len(got.Checks) != 1 || got.Checks[0].CheckID != want.Checks[0].CheckID || got.Checks[0].Status != want.Checks[0].Status || got.Checks[0].Type != "ttl" {
			t.Errorf("the checks are %+v, want %+v", got.Checks, want.Checks)
		}
	}
	dbs, _, err := here.client().Health().Service("db", "", true, nil)
	must(t, err)
	if len(dbs) != 2 || dbs[0].Service.ID != "db" || dbs[1].Service.ID != "db" || dbs[0].Node.Node == dbs[1].Node.Node {
		t.Errorf("of the same id at two nodes: %+v", dbs)
	}
	for _, line := range here.history(t, "Web") {
		if !strings.Contains(line, " consul ") {
			t.Errorf("an event of the import is %q", line)
		}
	}
	if got, want := here.imports(from), "2 services: 0 instances registered or changed, 0 deregistered, 0 refused"; got != want {
		t.Errorf("again: %s, want %s", got, want)
	}

	// What registers here by itself stays, whatever becomes of it there.
	must(t, here.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "native", Name: "Web", Port: 90}))
	must(t, here.client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "b", Name: "Web", Port: 82}))
	must(t, agent.ServiceDeregister("b"))
	_, err = source.client().Catalog().Deregister(&api.CatalogDeregistration{Node: "one", ServiceID: "db"}, nil)
	must(t, err)
	if got, want := here.imports(from), "2 services: 0 instances registered or changed, 1 deregistered, 0 refused"; got != want {
		t.Errorf("after changes: %s, want %s", got, want)
	}
	wantPassing(t, here.client(), "Web", "a:1/x b native")

	follow := exec.Command(binary, "import", "consul", "--from", from, "--url", here.url, "--follow")
	must(t, follow.Start())
	defer func() {
		_ = follow.Process.Kill()
		_ = follow.Wait()
	}()
	soon := func(service, want string) {
		t.Helper()
		eventually(t, 30*time.Second, "the passing instances of "+service, want, func() string { return passing(t, here.client(), service) })
	}
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "n", Name: "new", Port: 1}))
	soon("new", "n")
	must(t, agent.FailTTL("service:a:1/x", "broken"))
	soon("Web", "b native")
	must(t, agent.PassTTL("service:a:1/x", ""))
	soon("Web", "a:1/x b native")
	must(t, agent.EnableServiceMaintenance("a:1/x", "an upgrade"))
	soon("Web", "b native")
	must(t, agent.DisableServiceMaintenance("a:1/x"))
	soon("Web", "a:1/x b native")
	source.kill()
	source.run()
	must(t, agent.ServiceDeregister("n"))
	soon("new", "")
	if last := here.history(t, "new"); !strings.Contains(last[0], "consul: it is gone at "+from) {
		t.Errorf("the history says %q", last)
	}
}

// Instances of another face have what Consul does not take, and a URL may have credentials, which nobody is to see.
func TestAnotherRollcallIsImportedWholeWithoutItsCredentials(t *testing.T) {
	source, here := start(t), start(t)
	sendJSON(t, "PUT", source.url+"/v1/services/web/instances/a", `{"address":"10.0.0.5","ports":{"http":80},"metadata":{"app.kubernetes.io/name":"web","note":"`+strings.Repeat("n", 1000)+`"}}`)
	sendJSON(t, "PUT", source.url+"/v1/services/web/instances/a/traffic", `{"traffic":"maintenance","reason":"a new disk"}`)
	sendJSON(t, "PUT", here.url+"/v1/policies/keep", `{"service":"web","min_ready":"1"}`)
	login := "http://ann:hidden@" + source.address
	if got := here.imports(login + "/"); !strings.Contains(got, "1 instances registered or changed, 0 deregistered, 1 refused") { // the policy refuses the maintenance
		t.Errorf("first: %s", got)
	}
	sendJSON(t, "DELETE", here.url+"/v1/policies/keep", "")
	if got := here.imports(login); !strings.Contains(got, "0 deregistered, 0 refused") {
		t.Errorf("again: %s", got)
	}
	var i struct {
		Traffic  string
		Metadata map[string]string
		Origin   json.RawMessage
	}
	_, err := getJSON(t.Context(), here.url+"/v1/services/web/instances/a", &i)
	must(t, err)
	if i.Traffic != "maintenance" || i.Metadata["app.kubernetes.io/name"] != "web" || !strings.Contains(string(i.Origin), `"from":"http://`+source.address+`"`) || strings.Contains(string(i.Origin), "hidden") {
		t.Errorf("imported %+v from %s", i, i.Origin)
	}
	sendJSON(t, "DELETE", source.url+"/v1/services/web/instances/a", "")
	if got := here.imports(login); !strings.Contains(got, "1 deregistered") {
		t.Errorf("at last: %s", got)
	}
	if last := here.history(t, "web")[0]; strings.Contains(last, "hidden") || !strings.Contains(last, "it is gone at http://"+source.address) {
		t.Errorf("the history says %q", last)
	}
}

// sendJSON sends a command to the native API.
func sendJSON(t *testing.T, method, url, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(request)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// A Consul has checks of nodes, and its index falls after a restore. It may fail for a while.
func TestAConsulIsImported(t *testing.T) {
	here := start(t)
	var state atomic.Value
	type answers struct {
		index    int
		services string
		web      string
		fails    bool
	}
	instance := func(id, serf string) string {
		return `{"Node":{"ID":"40e4a748-2192-161a-0510-9bf59fe950b5","Node":"host-1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.1"},"Meta":{"consul-network-segment":""},"CreateIndex":5,"ModifyIndex":9},
			"Service":{"ID":"` + id + `","Service":"web","Tags":["v1"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":7,"ModifyIndex":7},
			"Checks":[{"Node":"host-1","CheckID":"serfHealth","Name":"Serf Health Status","Status":"` + serf + `","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{},"CreateIndex":5,"ModifyIndex":5}]}`
	}
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			now := state.Load().(answers)
			if r.URL.Query().Get("index") == fmt.Sprint(now.index) && !now.fails { // nothing is new
				select {
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
					continue
				}
			}
			w.Header().Set("X-Consul-Index", fmt.Sprint(now.index))
			switch {
			case now.fails:
				http.Error(w, "No cluster leader", http.StatusInternalServerError)
			case r.URL.Path == "/v1/catalog/services":
				fmt.Fprint(w, now.services)
			default:
				fmt.Fprint(w, now.web)
			}
			return
		}
	}))
	defer stub.Close()
	state.Store(answers{index: 100, services: `{"consul":[],"web":["v1"]}`, web: "[" + instance("w1", "passing") + "," + instance("w2", "passing") + "]"})
	follow := exec.Command(binary, "import", "consul", "--from", stub.URL, "--url", here.url, "--follow")
	must(t, follow.Start())
	defer func() {
		_ = follow.Process.Kill()
		_ = follow.Wait()
		stub.CloseClientConnections()
	}()
	soon := func(what, want string) {
		t.Helper()
		eventually(t, 30*time.Second, what, want, func() string { return passing(t, here.client(), "web") })
	}
	soon("two instances", "w1 w2")
	state.Store(answers{index: 101, services: `{"web":["v1"]}`, web: "[" + instance("w1", "critical") + "," + instance("w2", "passing") + "]"})
	soon("a node is away", "w2")
	state.Store(answers{fails: true})
	time.Sleep(300 * time.Millisecond)
	soon("no leader", "w2")
	state.Store(answers{index: 40, services: `{"web":["v1"]}`, web: "[" + instance("w1", "passing") + "," + instance("w2", "passing") + "]"})
	soon("after a restore", "w1 w2")
	var i struct {
		Address string
		Origin  json.RawMessage
	}
	_, err := getJSON(t.Context(), here.url+"/v1/services/web/instances/w1", &i)
	must(t, err)
	if i.Address != "10.0.0.1" || !strings.Contains(string(i.Origin), `"from":"`+stub.URL) || !strings.Contains(string(i.Origin), `"node":"host-1"`) {
		t.Errorf("imported as %s from %s", i.Address, i.Origin)
	}
}
