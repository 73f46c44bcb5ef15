package consul_test

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/consul"
	faces "github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/access"
)

// startGuarded is a registry whose callers need tokens. root may do everything; pay reads and changes its own instances of the
// services pay-*.
func startGuarded(t *testing.T) (r *rig, root, pay []string) {
	t.Helper()
	var newToken func(name string, spec domain.TokenSpec) []string
	r = start(t, func(c *consul.Config) {
		store := c.Queries.Store
		tokens, err := access.Open(t.Context(), store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		go tokens.Run(t.Context(), store) // ends with the test's context, before the store is closed
		c.Access = &faces.Access{Tokens: tokens, Now: time.Now}
		changes := &commands.Access{Store: store, State: tokens, Now: time.Now}
		newToken = func(name string, spec domain.TokenSpec) []string {
			secret, err := changes.Create(t.Context(), commands.Caller{Actor: domain.LocalActor}, name, spec)
			if err != nil {
				t.Fatal(err)
			}
			return []string{"X-Consul-Token", secret}
		}
	})
	r.token = newToken
	root = r.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	pay = r.token("pay", domain.TokenSpec{Roles: []string{"service"}, Services: []domain.Pattern{"pay-*"}})
	for _, name := range []string{"pay-in", "hidden"} {
		body := `{"ID":"` + name + `-1","Name":"` + name + `","Port":80,"Check":{"CheckID":"` + name + `-check","TTL":"1h"}}`
		if reply := r.send("PUT", "/v1/agent/service/register", body, root...); reply.StatusCode != 200 {
			t.Fatal(reply.StatusCode, reply.body)
		}
	}
	return r, root, pay
}

func TestListsShowWhatTheCallerMaySee(t *testing.T) {
	r, root, pay := startGuarded(t)
	node := regexp.MustCompile(`"Node":"([^"]*)"`).FindStringSubmatch(r.send("GET", "/v1/catalog/nodes", "", root...).body)
	if node == nil {
		t.Fatal("there is no node")
	}
	for _, path := range []string{
		"/v1/catalog/services", "/v1/agent/services", "/v1/agent/checks", "/v1/health/state/any", "/v1/health/node/" + node[1], "/v1/catalog/node/" + node[1],
		"/v1/catalog/node-services/" + node[1],
	} {
		part, whole := r.send("GET", path, "", pay...), r.send("GET", path, "", root...)
		if part.StatusCode != 200 || !strings.Contains(part.body, "pay-in") || strings.Contains(part.body, "hidden") {
			t.Errorf("%s shows %d %s", path, part.StatusCode, part.body)
		}
		if got := part.Header.Get("X-Consul-Results-Filtered-By-ACLs"); got != "true" {
			t.Errorf("%s does not say that it is a part: %q", path, got)
		}
		if !strings.Contains(whole.body, "hidden") || whole.Header.Get("X-Consul-Results-Filtered-By-ACLs") != "" {
			t.Errorf("%s shows to who may see everything %v %s", path, whole.Header, whole.body)
		}
	}
}

// A name that a caller may not read is the same to it as one that is not there: the replies are equal but for the name.
func TestACallerCannotTellHiddenNamesFromNamesThatAreNotThere(t *testing.T) {
	r, root, pay := startGuarded(t)
	reads := strings.Fields("/v1/catalog/service/S /v1/health/service/S /v1/health/checks/S /v1/agent/service/S-1 /v1/agent/health/service/id/S-1 /v1/agent/health/service/name/S")
	writes := strings.Fields(`/v1/agent/service/deregister/S-1 /v1/agent/service/maintenance/S-1?enable=true /v1/agent/check/pass/S-check /v1/agent/check/fail/S-check
		/v1/agent/check/deregister/S-check /v1/agent/check/update/S-check`)
	ask := func(method, path, name string) string {
		body := ""
		if strings.Contains(path, "update") {
			body = `{"Status":"passing"}`
		}
		reply := r.send(method, strings.ReplaceAll(path, "S", name), body, pay...)
		return strings.ReplaceAll(reply.Status+header(reply)+reply.body, name, "S")
	}
	for method, paths := range map[string][]string{"GET": reads, "PUT": writes} {
		for _, path := range paths {
			if hidden, absent := ask(method, path, "hidden"), ask(method, path, "absent"); hidden != absent {
				t.Errorf("%s %s: a hidden name gives\n%s\na name that is not there\n%s", method, path, hidden, absent)
			}
		}
	}
	// An id that a hidden service has is free for the caller's own.
	if reply := r.send("PUT", "/v1/agent/service/register", `{"ID":"hidden-1","Name":"pay-out","Port":80}`, pay...); reply.StatusCode != 200 {
		t.Errorf("%d %s", reply.StatusCode, reply.body)
	}
	if reply := r.send("GET", "/v1/catalog/service/hidden", "", root...); !strings.Contains(reply.body, "hidden-1") {
		t.Errorf("the hidden instance is gone: %s", reply.body)
	}
	if reply := r.send("GET", "/v1/agent/service/hidden-1", "", pay...); !strings.Contains(reply.body, "pay-out") {
		t.Errorf("the caller's own instance is shown as %d %s", reply.StatusCode, reply.body)
	}
}

// header is a reply's header, without what every reply has of its own.
func header(r reply) string {
	r.Header.Del("Date")
	r.Header.Del("X-Request-Id")
	var b strings.Builder
	if err := r.Header.Write(&b); err != nil {
		return err.Error()
	}
	return b.String()
}
