package clienttest

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// with is a client with a token, which is made with these arguments.
func (r *registry) with(args ...string) *api.Client {
	r.t.Helper()
	out, err := exec.Command(binary, append([]string{"token", "create", "--data", r.data, "-o", "json"}, args...)...).Output()
	if err != nil {
		r.t.Fatalf("%v: %v", args, err)
	}
	var made struct{ Secret string }
	must(r.t, json.Unmarshal(out, &made))
	return r.bearing(made.Secret)
}

func (r *registry) bearing(token string) *api.Client {
	r.t.Helper()
	config := api.DefaultConfig()
	config.Address, config.Token = r.address, token
	client, err := api.NewClient(config)
	must(r.t, err)
	return client
}

func TestTokensDecideWhatClientsMay(t *testing.T) {
	r := start(t, "--access", "on")
	shop, all := r.with("shop", "--role", "service", "--service", "web"), r.with("all", "--role", "operator")
	must(t, shop.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "w", Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "1h"}}))
	must(t, shop.Agent().PassTTL("service:w", ""))
	must(t, all.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "p", Name: "pay", Port: 81}))
	if err := shop.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "q", Name: "pay", Port: 82}); err == nil || !strings.Contains(err.Error(), "403 (Permission denied") {
		t.Errorf("another service: %v", err)
	}
	if err := shop.Agent().ServiceDeregister("p"); err == nil {
		t.Error("another's instance was deregistered")
	}
	for name, client := range map[string]*api.Client{"ACL not found": r.bearing("nonsense"), "403": r.bearing("")} {
		if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web"}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without a token that is good: %v, want %s", err, name)
		}
	}
	for client, want := range map[*api.Client]string{shop: "web", all: "pay web"} {
		services, meta, err := client.Catalog().Services(nil)
		must(t, err)
		var names []string
		for name := range services {
			names = append(names, name)
		}
		if line(names) != want || meta.ResultsFilteredByACLs != (want == "web") {
			t.Errorf("the services are %q (filtered %v), want %s", line(names), meta.ResultsFilteredByACLs, want)
		}
	}
	wantPassing(t, shop, "web", "w")
	wantPassing(t, shop, "pay", "")
	wantPassing(t, all, "pay", "p")
}
