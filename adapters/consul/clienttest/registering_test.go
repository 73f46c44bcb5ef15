package clienttest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	kitconsul "github.com/go-kit/kit/sd/consul"
	"github.com/go-kit/log"
	"github.com/hashicorp/consul/api"
)

// passing are the ids of a service that may get requests.
func passing(t *testing.T, client *api.Client, service string) string {
	t.Helper()
	entries, _, err := client.Health().Service(service, "", true, nil)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Service.ID)
	}
	return line(all)
}

func wantPassing(t *testing.T, client *api.Client, service, want string) {
	t.Helper()
	if got := passing(t, client, service); got != want {
		t.Errorf("the passing instances of %s are %q, want %q", service, got, want)
	}
}

func putRaw(t *testing.T, address, path, body string) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodPut, "http://"+address+path, strings.NewReader(body))
	must(t, err)
	resp, err := http.DefaultClient.Do(request)
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// Clients register, report and deregister in their own ways.
func TestClientsRegisterInstances(t *testing.T) {
	r := start(t)
	client := r.client()
	agent := client.Agent()
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer well.Close()
	soon := func(t *testing.T, service, want string) {
		t.Helper()
		eventually(t, 30*time.Second, "the passing instances of "+service, want, func() string { return passing(t, client, service) })
	}

	t.Run("go-kit", func(t *testing.T) {
		registrar := kitconsul.NewRegistrar(kitconsul.NewClient(client), &api.AgentServiceRegistration{ID: "k1", Name: "kit", Port: 80}, log.NewNopLogger())
		registrar.Register()
		wantPassing(t, client, "kit", "k1")
		registrar.Deregister()
		wantPassing(t, client, "kit", "")
	})

	t.Run("npm consul", func(t *testing.T) {
		installNode(t)
		output(t, ".", "node", "npm/register.js", r.address)
	})

	t.Run("python-consul", func(t *testing.T) {
		output(t, ".", python, "python/register.py", r.address)
	})

	// The id names host, container and port. The cleanup compares the agent's services with what runs.
	t.Run("registrator", func(t *testing.T) {
		if leader, err := client.Status().Leader(); err != nil || leader == "" {
			t.Errorf("the leader is %q: %v", leader, err)
		}
		id := "host7:web-1:8080:udp"
		must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: "registrator", Port: 8080, Tags: []string{"udp"}, Check: &api.AgentServiceCheck{TTL: "15s"}}))
		must(t, agent.UpdateTTL("service:"+id, "", api.HealthPassing))
		wantPassing(t, client, "registrator", id)
		services, err := agent.Services()
		must(t, err)
		for found, s := range services {
			if s.ID != found || found == id && s.Port != 8080 {
				t.Errorf("%s is %+v", found, s)
			}
		}
		must(t, agent.ServiceDeregister(id))
		wantPassing(t, client, "registrator", "")
	})

	// A ttl check that is renewed under the id of the first check, and an HTTP check. Both must pass.
	t.Run("fabio", func(t *testing.T) {
		must(t, agent.ServiceRegister(&api.AgentServiceRegistration{
			ID: "f1", Name: "fabio", Port: 9998, Address: "127.0.0.1", Tags: []string{"urlprefix-/"}, Checks: []*api.AgentServiceCheck{
				{CheckID: "f1-ttl", TTL: "15s", DeregisterCriticalServiceAfter: "1m"}, {HTTP: well.URL, Interval: "1s", Timeout: "3s", DeregisterCriticalServiceAfter: "1m"},
			},
		}))
		must(t, agent.UpdateTTL("f1-ttl", "fabio runs", api.HealthPassing))
		soon(t, "fabio", "f1")
		must(t, agent.UpdateTTL("f1-ttl", "fabio stops", api.HealthCritical))
		soon(t, "fabio", "")
		must(t, agent.ServiceDeregister("f1"))
	})

	// URLs in tagged addresses, TCP checks, and a heartbeat under a check's id that is named.
	t.Run("kratos", func(t *testing.T) {
		u, _ := url.Parse(well.URL)
		tagged := map[string]api.ServiceAddress{"http": {Address: well.URL, Port: 8000}, "grpc": {Address: "grpc://127.0.0.1:9000", Port: 9000}}
		must(t, agent.ServiceRegister(&api.AgentServiceRegistration{
			ID: "k-7f3a", Name: "kratos", Address: "127.0.0.1", Port: 8000, Tags: []string{"version=v1"}, TaggedAddresses: tagged, Checks: []*api.AgentServiceCheck{
				{TCP: u.Host, Interval: "1s", Status: api.HealthPassing, DeregisterCriticalServiceAfter: "600s"},
				{CheckID: "service:k-7f3a", TTL: "20s", Status: api.HealthPassing, DeregisterCriticalServiceAfter: "600s"},
			},
		}))
		must(t, agent.UpdateTTL("service:k-7f3a", "pass", "pass"))
		entries, _, err := client.Health().Service("kratos", "", true, &api.QueryOptions{WaitTime: 10 * time.Second})
		must(t, err)
		if len(entries) != 1 || len(entries[0].Checks) != 2 {
			t.Fatalf("found %+v", entries)
		}
		for tag, want := range tagged {
			if got := entries[0].Service.TaggedAddresses[tag]; got != want {
				t.Errorf("the address %s is %+v, want %+v", tag, got, want)
			}
		}
		must(t, agent.ServiceDeregister("k-7f3a"))
	})

	// A check within the registration, and then the same id with another ttl.
	t.Run("go-zero", func(t *testing.T) {
		must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: "z-8081", Name: "zero", Port: 8081, Checks: []*api.AgentServiceCheck{
			{CheckID: "z-8081", TTL: "30s", Status: api.HealthPassing, DeregisterCriticalServiceAfter: "90s"},
		}}))
		must(t, agent.CheckRegister(&api.AgentCheckRegistration{ID: "z-8081", Name: "zero", ServiceID: "z-8081", AgentServiceCheck: api.AgentServiceCheck{TTL: "20s", Status: api.HealthPassing}}))
		must(t, agent.UpdateTTL("z-8081", "", api.HealthPassing))
		wantPassing(t, client, "zero", "z-8081")
		must(t, agent.ServiceDeregister("z-8081"))
		if err := agent.CheckDeregister("z-8081"); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("the check went with its service, but it was deregistered: %v", err)
		}
	})

	// A check that is passed right after the registration, and long tags.
	t.Run("go-micro", func(t *testing.T) {
		id := "go.micro.srv.greeter-" + strings.Repeat("a", 36)
		tags := []string{"t-789c" + strings.Repeat("ab", 1000), "v-789c0304"}
		must(t, agent.ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: "go.micro.srv.greeter", Port: 40001, Address: "127.0.0.1", Tags: tags,
			Check: &api.AgentServiceCheck{TTL: "90s", DeregisterCriticalServiceAfter: "155s"}}))
		must(t, agent.PassTTL("service:"+id, ""))
		checks, _, err := client.Health().Checks("go.micro.srv.greeter", nil)
		must(t, err)
		if len(checks) != 1 || checks[0].Status != api.HealthPassing || checks[0].ServiceID != id || !reflect.DeepEqual(checks[0].ServiceTags, tags) {
			t.Errorf("the checks are %+v", checks)
		}
		must(t, agent.ServiceDeregister(id))
		if err := agent.PassTTL("service:"+id, ""); err == nil {
			t.Error("a check that is gone was passed")
		}
	})

	// Raw requests, with an HTTP check; the status OUT_OF_SERVICE is a maintenance that the name of a check shows.
	t.Run("spring-cloud-consul", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(well.Listener.Addr().String())
		body := fmt.Sprintf(`{"ID":"app-8080","Name":"spring","Tags":[],"Address":"127.0.0.1","Meta":{"secure":"false"},"Port":%s,"Check":{"Interval":"1s","HTTP":"%s/actuator/health","Header":{}},"Checks":null}`, port, well.URL)
		if got := putRaw(t, r.address, "/v1/agent/service/register", body); got != http.StatusOK {
			t.Fatal(got)
		}
		soon(t, "spring", "app-8080")
		if got := putRaw(t, r.address, "/v1/agent/service/maintenance/app-8080?enable=true&reason=", ""); got != http.StatusOK {
			t.Fatal(got)
		}
		checks, _, err := client.Health().Checks("spring", nil)
		must(t, err)
		maintained := false
		for _, c := range checks {
			maintained = maintained || c.Name == "Service Maintenance Mode"
		}
		if !maintained {
			t.Errorf("no check says that there is a maintenance: %+v", checks)
		}
		putRaw(t, r.address, "/v1/agent/service/maintenance/app-8080?enable=false", "")
		soon(t, "spring", "app-8080")
		if got := putRaw(t, r.address, "/v1/agent/check/pass/service:nobody", ""); got != http.StatusNotFound {
			t.Errorf("a heartbeat for nobody: %d", got)
		}
		if got := putRaw(t, r.address, "/v1/agent/service/deregister/app-8080", ""); got != http.StatusOK {
			t.Fatal(got)
		}
		soon(t, "spring", "")
	})
}
