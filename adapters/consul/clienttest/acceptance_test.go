package clienttest

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// What a client says of an instance comes back.
func TestARegistrationComesBack(t *testing.T) {
	r := start(t)
	client := r.client()
	tags := []string{"v2", "", "v1", "v2", "traefik.http.routers.shop.rule=" + strings.Repeat("Host(`a.example`) || ", 20)}
	said := &api.AgentServiceRegistration{
		ID: "host:Shop/1", Name: "Shop", Tags: tags, Port: 8080, Address: "10.0.0.7", Meta: map[string]string{"team": "shop"}, EnableTagOverride: true,
		TaggedAddresses: map[string]api.ServiceAddress{"http": {Address: "http://10.0.0.7:8080", Port: 8080}}, Weights: &api.AgentWeights{Passing: 10, Warning: 3},
		Check: &api.AgentServiceCheck{TTL: "10s", DeregisterCriticalServiceAfter: "1m", Notes: "by the client"},
	}
	must(t, client.Agent().ServiceRegister(said))
	addresses := map[string]api.ServiceAddress{
		"http": said.TaggedAddresses["http"], "lan_ipv4": {Address: "10.0.0.7", Port: 8080}, "wan_ipv4": {Address: "10.0.0.7", Port: 8080},
	}
	same := func(where string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", where, got, want)
		}
	}
	services, err := client.Agent().Services()
	must(t, err)
	s := services["host:Shop/1"]
	if s == nil {
		t.Fatalf("the agent's services are %v", services)
	}
	same("the agent", []any{s.Service, s.Tags, s.Port, s.Address, s.Meta, s.EnableTagOverride, s.TaggedAddresses, s.Weights}, []any{"Shop", tags, 8080, "10.0.0.7", said.Meta, true, addresses, *said.Weights})
	rows, _, err := client.Catalog().Service("shop", "V1", nil)
	must(t, err)
	if len(rows) != 1 {
		t.Fatalf("the catalog has %+v", rows)
	}
	row := rows[0]
	same("the catalog", []any{row.ServiceID, row.ServiceName, row.ServiceTags, row.ServicePort, row.ServiceAddress, row.ServiceMeta, row.ServiceTaggedAddresses, row.ServiceWeights},
		[]any{"host:Shop/1", "Shop", tags, 8080, "10.0.0.7", said.Meta, addresses, api.Weights{Passing: 10, Warning: 3}})
	entries, meta, err := client.Health().Service("SHOP", "", false, nil)
	must(t, err)
	if len(entries) != 1 || meta.LastIndex == 0 || !meta.KnownLeader {
		t.Fatalf("the health is %+v with %+v", entries, meta)
	}
	c := entries[0].Checks[0]
	same("the check", []any{c.CheckID, c.Name, c.Status, c.Notes, c.ServiceID, c.ServiceName, c.ServiceTags, c.Type}, []any{"service:host:Shop/1", "Service 'Shop' check", "critical", "by the client", "host:Shop/1", "Shop", tags, "ttl"})
	wantPassing(t, client, "Shop", "")
	one, _, err := client.Agent().Service("host:Shop/1", nil)
	must(t, err)
	if one.ContentHash == "" || one.Service != "Shop" {
		t.Errorf("the agent's service is %+v", one)
	}
}

// Checks of nodes, through the agent's routes and those of the catalog.
func TestClientsSeeNodes(t *testing.T) {
	r := start(t)
	client := r.client()
	agent := client.Agent()
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80}))
	must(t, agent.CheckRegister(&api.AgentCheckRegistration{ID: "disk", Name: "Disk", Notes: "free space", AgentServiceCheck: api.AgentServiceCheck{TTL: "1h"}}))
	wantPassing(t, client, "web", "")
	must(t, agent.UpdateTTL("disk", "90 % free", api.HealthPassing))
	wantPassing(t, client, "web", "web")
	checks, err := agent.Checks()
	must(t, err)
	if c := checks["disk"]; c == nil || c.ServiceID != "" || c.Status != api.HealthPassing || c.Notes != "free space" {
		t.Errorf("the agent's checks are %+v", checks)
	}
	must(t, agent.EnableNodeMaintenance("a new disk"))
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "late", Name: "web", Port: 81}))
	wantPassing(t, client, "web", "")
	entries, _, err := client.Health().Service("web", "", false, nil)
	must(t, err)
	for _, e := range entries {
		if got := e.Checks.AggregatedStatus(); got != api.HealthMaint {
			t.Errorf("%s is %s", e.Service.ID, got)
		}
	}
	if status, info, err := agent.AgentHealthServiceByID("late"); err != nil || status != api.HealthCritical || info == nil || info.AggregatedStatus != api.HealthMaint {
		t.Errorf("the health is %s %+v %v", status, info, err)
	}
	must(t, agent.DisableNodeMaintenance())
	wantPassing(t, client, "web", "late web")
	must(t, agent.CheckDeregister("disk"))

	_, err = client.Catalog().Register(&api.CatalogRegistration{
		Node: "printer", Address: "10.0.0.9", NodeMeta: map[string]string{"external-node": "true"}, Service: &api.AgentService{ID: "lp", Service: "print", Port: 631},
		Checks: api.HealthChecks{{Node: "printer", CheckID: "ping", Name: "Ping", Status: api.HealthCritical, Output: "no answer"}, {Node: "printer", CheckID: "ipp", Name: "IPP", Status: api.HealthPassing, ServiceID: "lp"}},
	}, nil)
	must(t, err)
	entries, _, err = client.Health().Service("print", "", false, nil)
	must(t, err)
	if len(entries) != 1 || len(entries[0].Checks) != 2 || entries[0].Checks[0].Output != "no answer" || entries[0].Checks[1].ServiceID != "lp" || entries[0].Node.Meta["external-node"] != "true" {
		t.Errorf("the printer is %+v", entries)
	}
	nodes, _, err := client.Catalog().Nodes(&api.QueryOptions{NodeMeta: map[string]string{"external-node": "true"}})
	must(t, err)
	if len(nodes) != 1 || nodes[0].Node != "printer" || nodes[0].CreateIndex == 0 {
		t.Errorf("the nodes are %+v", nodes)
	}
	_, err = client.Catalog().Deregister(&api.CatalogDeregistration{Node: "printer"}, nil)
	must(t, err)
	if node, _, err := client.Catalog().Node("printer", nil); err != nil || node != nil {
		t.Errorf("a node that is gone is %+v %v", node, err)
	}
}

// Clients behind a proxy have the nodes of their own addresses.
func TestAgentsBehindAProxyHaveNodesOfTheirOwn(t *testing.T) {
	r := start(t, "--trusted-proxy", "127.0.0.1", "--insecure")
	at := func(address string) *api.Client {
		config := api.DefaultConfig()
		config.Address, config.HttpClient = r.address, &http.Client{Transport: forwarding(address)}
		client, err := api.NewClient(config)
		must(t, err)
		return client
	}
	one, two, third := at("10.1.0.1"), at("10.1.0.2"), at("10.1.0.3")
	for _, client := range []*api.Client{one, two} {
		must(t, client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "1h"}}))
	}
	passes := func(want string) {
		t.Helper()
		entries, _, err := third.Health().Service("web", "", true, nil)
		must(t, err)
		var all []string
		for _, e := range entries {
			all = append(all, e.Node.Node+" "+e.Node.Address)
		}
		if got := line(all); got != want {
			t.Errorf("web passes at %q, want %q", got, want)
		}
	}
	must(t, two.Agent().PassTTL("service:web", ""))
	passes("ip-10-1-0-2 10.1.0.2")
	var status api.StatusError
	if err := third.Agent().PassTTL("service:web", ""); !errors.As(err, &status) || status.Code != http.StatusNotFound {
		t.Errorf("a report from a third machine, of an id that two have: %v", err)
	}
	must(t, one.Agent().PassTTL("service:web", ""))
	passes("ip-10-1-0-1 10.1.0.1 ip-10-1-0-2 10.1.0.2")
	must(t, one.Agent().EnableNodeMaintenance(""))
	passes("ip-10-1-0-2 10.1.0.2")
	services, err := third.Agent().Services()
	must(t, err)
	if len(services) != 0 {
		t.Errorf("the third machine has %v", services)
	}
	must(t, two.Agent().ServiceDeregister("web"))
	passes("")
	must(t, one.Agent().DisableNodeMaintenance())
	passes("ip-10-1-0-1 10.1.0.1")
}

// forwarding says in each request for whom it is, as a proxy does.
type forwarding string

func (f forwarding) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", string(f))
	return http.DefaultTransport.RoundTrip(r)
}

// Errors are those that clients tell apart.
func TestClientsSeeConsulsErrors(t *testing.T) {
	r := start(t)
	client := r.client()
	agent := client.Agent()
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "t", Name: "tcp", Check: &api.AgentServiceCheck{TCP: "127.0.0.1:1", Interval: "1h"}}))
	_, _, staleAndConsistent := client.Health().Service("web", "", false, &api.QueryOptions{AllowStale: true, RequireConsistent: true})
	_, _, elsewhere := client.Health().Service("web", "", false, &api.QueryOptions{Datacenter: "dc2"})
	_, _, filter := client.Health().Service("tcp", "", false, &api.QueryOptions{Filter: "Nothing == 1"})
	_, _, unknown := agent.Service("nobody", nil)
	_, err := client.KV().Put(&api.KVPair{Key: "a", Value: []byte("b")}, nil)
	_, _, session := client.Session().Create(nil, nil)
	for what, c := range map[string]struct {
		err  error
		code int
		text string
	}{
		"a report of an unknown check": {agent.UpdateTTL("nobody", "", "pass"), 404, `Unknown check ID "nobody". Ensure that the check ID is passed, not the check name.`},
		"a report of no ttl check":     {agent.UpdateTTL("service:t", "", "pass"), 500, "does not have associated TTL"},
		"no name":                      {agent.ServiceRegister(&api.AgentServiceRegistration{ID: "x"}), 400, "Missing service name"},
		"no address":                   {agent.ServiceRegister(&api.AgentServiceRegistration{Name: "x", Address: "0.0.0.0"}), 400, "Invalid service address"},
		"an unknown service":           {agent.ServiceDeregister("nobody"), 404, `Unknown service ID "nobody". Ensure that the service ID is passed, not the service name.`},
		"maintenance of nobody":        {agent.EnableServiceMaintenance("nobody", ""), 404, "Unknown service ID"},
		"the agent's unknown service":  {unknown, 404, "unknown service ID: nobody"},
		"stale and consistent":         {staleAndConsistent, 400, "Cannot specify ?stale with ?consistent, conflicting semantics."},
		"another datacenter":           {elsewhere, 500, "No path to datacenter"},
		"a filter":                     {filter, 400, ""},
		"a key":                        {err, 501, "Rollcall keeps no keys and values"},
		"a session":                    {session, 501, "Rollcall keeps no sessions"},
	} {
		var status api.StatusError
		if !errors.As(c.err, &status) || status.Code != c.code || !strings.Contains(status.Body, c.text) {
			t.Errorf("%s: %v, want %d %s", what, c.err, c.code, c.text)
		}
	}
}

// A client that asks before it sends a body, as curl does from 1 KiB on, is told to go on.
func TestABodyIsAskedFor(t *testing.T) {
	r := start(t)
	body := fmt.Sprintf(`{"Name":"large","Port":80,"Tags":["%s"]}`, strings.Repeat("x", 3000))
	out := output(t, ".", "curl", "-sv", "--stderr", "-", "--expect100-timeout", "60", "-H", "Expect: 100-continue", "-X", "PUT", "--data-binary", body, "http://"+r.address+"/v1/agent/service/register")
	if !strings.Contains(out, "HTTP/1.1 100 Continue") || !strings.Contains(out, "HTTP/1.1 200 OK") {
		t.Errorf("curl says %s", out)
	}
	wantPassing(t, r.client(), "large", "large")
}

// An instance whose client dies is critical, and goes after its time, also if the registry is killed in between.
func TestACriticalInstanceIsDeregistered(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	r := start(t)
	client := r.client()
	agent := client.Agent()
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "short", Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "1s", Status: api.HealthPassing, DeregisterCriticalServiceAfter: "1s"}}))
	must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "stays", Name: "web", Port: 81, Check: &api.AgentServiceCheck{TTL: "1s", Status: api.HealthPassing}}))
	status := func(id string) string {
		entries, _, err := client.Health().Service("web", "", false, nil)
		if err != nil {
			return err.Error()
		}
		for _, e := range entries {
			if e.Service.ID == id {
				return e.Checks[0].Status + " " + e.Checks[0].Output
			}
		}
		return "gone"
	}
	for _, id := range []string{"short", "stays"} {
		eventually(t, 30*time.Second, id, "critical TTL expired", func() string { return status(id) })
	}
	must(t, agent.UpdateTTL("service:short", "back", api.HealthPassing))
	eventually(t, 30*time.Second, "short once more", "critical TTL expired (last output before timeout follows): back", func() string { return status("short") })
	lapsed := time.Now()
	r.kill()
	r.run()
	eventually(t, 3*time.Minute, "short in the end", "gone", func() string { return status("short") })
	if took := time.Since(lapsed); took < 50*time.Second {
		t.Errorf("it was removed after %s: no time below a minute is taken", took)
	}
	if got := status("stays"); !strings.HasPrefix(got, "critical") {
		t.Errorf("an instance without a time is %q", got)
	}
	var last string
	for _, line := range r.history(t, "web") {
		if strings.Contains(line, "InstanceDeregistered") {
			last = line
			break
		}
	}
	if !strings.Contains(last, "critical") {
		t.Errorf("the history says %q", last)
	}
}
