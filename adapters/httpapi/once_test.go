package httpapi_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Every route of the description that changes something takes a key, or says why it may be sent twice.
func TestEveryChangeTakesAKeyOrDoesNoHarmTwice(t *testing.T) {
	for route, o := range described() {
		again := httpapi.Repeats[route]
		if changes := !strings.HasPrefix(route, "GET "); changes != (again != "") {
			t.Errorf("%s changes something: %t, and sent again it is: %q", route, changes, again)
		}
		takes := again == httpapi.AgainCommand || again == httpapi.AgainRequest
		if declared := slices.Contains(o.parameters["header"], "Idempotency-Key"); declared != takes {
			t.Errorf("%s takes a key: %t, and its description says %t", route, takes, declared)
		}
	}
	for route := range httpapi.Repeats {
		if _, ok := described()[route]; !ok {
			t.Errorf("%s is no route", route)
		}
	}
}

// keyedChange is a request that is sent twice.
type keyedChange struct {
	path, body string
	other      string   // body or, for a DELETE, query of another request
	before     []string // requests that come first, "METHOD path body"
}

var keyedChanges = map[string]keyedChange{
	"PUT /v1/preservation":         {path: "/v1/preservation", body: `{"held":true,"reason":"a"}`, other: `{"held":true,"reason":"b"}`},
	"PUT /v1/policies/:name":       {path: "/v1/policies/a", body: `{"service":"web","min_ready":"1"}`, other: `{"service":"web","min_ready":"2"}`},
	"DELETE /v1/policies/:name":    {path: "/v1/policies/b", other: "?reason=b", before: []string{`PUT /v1/policies/b {"service":"web","min_ready":"1"}`}},
	"POST /v1/webhooks":            {path: "/v1/webhooks", body: `{"url":"http://10.0.0.1/"}`, other: `{"url":"http://10.0.0.2/"}`},
	"DELETE /v1/webhooks/:id":      {path: "/v1/webhooks/HOOK", other: "?reason=b"},
	"POST /v1/webhooks/:id/pause":  {path: "/v1/webhooks/HOOK/pause", body: `{"reason":"a"}`, other: `{"reason":"b"}`},
	"POST /v1/webhooks/:id/resume": {path: "/v1/webhooks/HOOK/resume", other: `{}`, before: []string{`POST /v1/webhooks/HOOK/pause {}`}},
	"POST /v1/webhooks/:id/replay": {path: "/v1/webhooks/HOOK/replay", body: `{"from":"1"}`, other: `{"from":"2"}`},
	"POST /v1/access/tokens":       {path: "/v1/access/tokens", body: `{"name":"a","roles":["reader"]}`, other: `{"name":"b","roles":["reader"]}`},
	"POST /v1/access/tokens/:name/rotate": {path: "/v1/access/tokens/c/rotate", body: `{"keep_old":"1h"}`, other: `{}`,
		before: []string{`POST /v1/access/tokens {"name":"c","roles":["reader"]}`}},
	"DELETE /v1/access/tokens/:name": {path: "/v1/access/tokens/d", other: "?reason=b", before: []string{`POST /v1/access/tokens {"name":"d","roles":["reader"]}`}},
	"PUT /v1/access/roles/:name":     {path: "/v1/access/roles/a", body: `{"grants":[{"verbs":["read-catalog"]}]}`, other: `{"grants":[]}`},
	"DELETE /v1/access/roles/:name":  {path: "/v1/access/roles/b", other: "?reason=b", before: []string{`PUT /v1/access/roles/b {"grants":[{"verbs":["read-catalog"]}]}`}},
	"POST /v1/reverts":               {}, // see TestARevertThatIsSentAgainTakesNothingElseBack
}

// What is sent again with its key is carried out once and answered as before, secrets included. The key does not do for another
// request.
func TestAChangeThatIsSentAgainWithItsKeyIsAnsweredAsBefore(t *testing.T) {
	g := startGuarded(t)
	admin := g.token("admin", domain.TokenSpec{Roles: []string{"admin"}})
	send := func(method, path, body, key string) reply {
		t.Helper()
		header := admin
		if key != "" {
			header = append(slices.Clone(admin), "Idempotency-Key", key)
		}
		return g.send(method, path, body, header...)
	}
	events := func() int { return strings.Count(string(send("GET", "/v1/events", "", "").want(t, 200).body), "\n") }
	for route, again := range httpapi.Repeats {
		change, ok := keyedChanges[route]
		if again != httpapi.AgainRequest || change.path == "" {
			if ok != (again == httpapi.AgainRequest) {
				t.Errorf("%s: there is a request of it: %t", route, ok)
			}
			continue
		}
		var hook struct{ ID string }
		send("POST", "/v1/webhooks", `{"url":"http://10.0.0.1/"}`, "").want(t, 201).json(t, &hook)
		fill := strings.NewReplacer("HOOK", hook.ID)
		for _, before := range change.before {
			method, rest, _ := strings.Cut(fill.Replace(before), " ")
			path, body, _ := strings.Cut(rest, " ")
			if got := send(method, path, body, ""); got.StatusCode >= 300 {
				t.Fatalf("%s: %d %s", before, got.StatusCode, got.body)
			}
		}
		method, _, _ := strings.Cut(route, " ")
		path, key := fill.Replace(change.path), uuid.NewString()
		first := send(method, path, change.body, key)
		count := events()
		second := send(method, path, change.body, key)
		if first.StatusCode >= 300 || second.StatusCode != first.StatusCode || string(second.body) != string(first.body) {
			t.Errorf("%s gave %d %s, and then %d %s", route, first.StatusCode, first.body, second.StatusCode, second.body)
		}
		if now := events(); now != count || count == 0 {
			t.Errorf("%s: there were %d events and are %d", route, count, now)
		}
		for _, reply := range []reply{first, second} { // a client that asks another node with it finds what the request did
			if position := reply.Header.Get("Rollcall-Position"); position != strconv.Itoa(count) {
				t.Errorf("%s is answered with position %s, and its event has %d", route, position, count)
			}
		}
		if method == "DELETE" {
			send(method, path+change.other, "", key).problem(t, 422, "invalid-field", "Idempotency-Key")
		} else {
			send(method, path, change.other, key).problem(t, 422, "invalid-field", "Idempotency-Key")
		}
	}
}

func TestARevertThatIsSentAgainTakesNothingElseBack(t *testing.T) {
	s := start(t)
	register := func(version string) {
		t.Helper()
		if got := s.send("PUT", "/v1/services/web/instances/a", fmt.Sprintf(`{"address":"10.0.0.1","version":%q}`, version)); got.StatusCode >= 300 {
			t.Fatalf("%s", got.body)
		}
	}
	has := func(version string) {
		t.Helper()
		if got := s.send("GET", "/v1/services/web/instances/a", "").want(t, 200); !strings.Contains(string(got.body), fmt.Sprintf(`"version":%q`, version)) {
			t.Errorf("it is %s, want version %s", got.body, version)
		}
	}
	register("1")
	register("2")
	const key, revert = "8e03978e-40d5-43dd-bc93-6894a57f9324", `{"to":"1","reason":"r"}`
	s.send("POST", "/v1/reverts", revert, "Idempotency-Key", key).want(t, 200)
	has("1")
	register("3")
	var again wire.Revert
	s.send("POST", "/v1/reverts", revert, "Idempotency-Key", key).want(t, 200).json(t, &again)
	has("3")
	if again.Instances != 0 || len(again.Steps) != 0 || len(again.Skipped) != 1 || again.Skipped[0].Why != "changed" {
		t.Errorf("sent again it says that it did %+v, and skipped %+v", again.Steps, again.Skipped)
	}
	metrics := string(s.send("GET", "/metrics", "").want(t, 200).body)
	for _, line := range []string{`ok"} 4`, `conflict"} 0`} { // three registrations and one revert
		if !strings.Contains(metrics, `rollcall_commands_total{command="RegisterInstance",result="`+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	s.send("POST", "/v1/reverts", revert).want(t, 200)
	has("1")
}

// A command that is sent again with its key is carried out once, and is answered as before.
func TestACommandThatIsSentAgainWithItsKeyIsAnsweredAsBefore(t *testing.T) {
	s := start(t)
	const first, second = `"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "8e03978e-40d5-43dd-bc93-6894a57f9325"
	create := func() reply {
		return s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`, "If-None-Match", "*", "Idempotency-Key", first)
	}
	created := create().want(t, 201)
	s.send("DELETE", "/v1/services/web/instances/a", "", "Idempotency-Key", second).want(t, 200)
	if again := create().want(t, 201); string(again.body) != string(created.body) || again.Header.Get("ETag") != created.Header.Get("ETag") {
		t.Errorf("sent again it gave %s %s, before %s %s", again.body, again.Header.Get("ETag"), created.body, created.Header.Get("ETag"))
	}
	s.send("DELETE", "/v1/services/web/instances/a", "", "Idempotency-Key", strings.ToUpper(second)).want(t, 200)
	s.send("DELETE", "/v1/services/web/instances/a", "").problem(t, 404, "unknown-instance", "")
	s.send("DELETE", "/v1/services/web/instances/a?reason=other", "", "Idempotency-Key", second).problem(t, 422, "invalid-field", "Idempotency-Key")

	one := s.send("POST", "/v1/services/web/instances", `{"address":"10.0.0.1"}`, "Idempotency-Key", first).want(t, 201)
	two := s.send("POST", "/v1/services/web/instances", `{"address":"10.0.0.1"}`, "Idempotency-Key", first).want(t, 201)
	if string(one.body) != string(two.body) || one.Header.Get("Location") != two.Header.Get("Location") {
		t.Errorf("a registration under a new id gave %s, and then %s", one.body, two.body)
	}

	const batch = `[{"type":"RegisterInstance","service":"web","id":"b","address":"10.0.0.1","if_none_match":"*"},{"type":"x"},
		{"type":"RegisterInstance","service":"web","id":"c","address":"10.0.0.1","if_none_match":"*"}]`
	before := s.send("POST", "/v1/commands", batch, "Idempotency-Key", first).want(t, 200)
	if again := s.send("POST", "/v1/commands", batch, "Idempotency-Key", first).want(t, 200); string(again.body) != string(before.body) || !strings.Contains(string(again.body), `"id":"c"`) {
		t.Errorf("a batch that was sent again gave %s, before %s", again.body, before.body)
	}
}

func TestAKeyThatHasNoEffectIsRefused(t *testing.T) {
	s := start(t)
	const key = "8e03978e-40d5-43dd-bc93-6894a57f9324"
	for _, bad := range []string{"", "1", key + "0"} {
		s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`, "Idempotency-Key", bad).problem(t, 422, "invalid-field", "Idempotency-Key")
	}
	s.send("POST", "/v1/webhooks", `{"url":"http://10.0.0.1/"}`, "Idempotency-Key", "1").problem(t, 422, "invalid-field", "Idempotency-Key")
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`).want(t, 201)
	for range 2 { // it does no harm twice
		s.send("PUT", "/v1/services/web/instances/a/heartbeat", "", "Idempotency-Key", key).want(t, 200)
	}
	s.send("GET", "/v1/services/web", "", "Idempotency-Key", key).want(t, 200)
}
