package httpapi_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/docs/api"
)

var updateExamples = flag.Bool("update-examples", false, "write the description's examples anew")

// What differs from run to run, and what an example has in its place.
var unsteady = []struct {
	pattern *regexp.Regexp
	steady  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "2026-01-02T15:04:05.678901Z"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "019b7f2e-5c3a-7d41-9e8b-0123456789ab"},
	{regexp.MustCompile(`"request_id":"[^"]+"`), `"request_id":"lgpsjxrbbskrvw4u3uz7-1"`},
}

// The description's examples are replies of the server. `go test ./adapters/httpapi -run Examples -update-examples` writes
// them anew.
func TestTheDescriptionsExamplesAreRepliesOfTheServer(t *testing.T) {
	s := start(t)
	var examples bytes.Buffer
	keep := func(name string, r reply) {
		body := bytes.TrimSpace(r.body)
		for _, u := range unsteady {
			body = u.pattern.ReplaceAll(body, []byte(u.steady))
		}
		fmt.Fprintf(&examples, "    %s: { value: %s }\n", name, body)
	}
	get := func(name, path string, status int) { keep(name, s.send("GET", path, "").want(t, status)) }

	keep("Registered", s.send("PUT", a1, `{"address":"10.0.0.5","ports":{"http":8080},"tags":["blue"],"zone":"eu-1a","version":"1.4.2","owner":"pod-7f"}`).want(t, 201))
	s.send("PUT", "/v1/services/cart/instances/c-1", `{"address":"10.0.0.9"}`).want(t, 201)
	keep("Heartbeats", s.send("POST", "/v1/heartbeats", `["cart/c-1","cart/c-2"]`).want(t, 200))
	keep("Commands", s.send("POST", "/v1/commands", `[{"type":"ReportHealth","service":"checkout","id":"a-1","status":"warning","output":"slow"},{"type":"RegisterInstance","service":"cart","id":"c-2","address":"nowhere at all"}]`).want(t, 200))
	get("Instance", a1, 200)
	get("Instances", "/v1/services/checkout/instances", 200)
	get("Services", "/v1/services", 200)
	get("Namespaces", "/v1/namespaces", 200)
	get("Catalog", "/v1/catalog", 200)
	get("Event", "/v1/events?service=checkout&type=InstanceRegistered", 200)
	get("UnknownInstance", "/v1/services/checkout/instances/b-1", 404)
	get("UnknownParameter", "/v1/services?colour=red", 422)
	s.send("DELETE", a1+"?reason=scaled+down", "").want(t, 200)
	get("History", a1+"/history", 200)
	get("InstanceGone", a1, 410)

	const begin, end = "  examples: # replies of the server, written by TestTheDescriptionsExamplesAreRepliesOfTheServer\n", "  securitySchemes:\n"
	before, rest, ok := strings.Cut(string(api.OpenAPI), begin)
	written, after, ends := strings.Cut(rest, end)
	switch {
	case !ok || !ends:
		t.Fatal("the description has no place for examples")
	case *updateExamples:
		if err := os.WriteFile("../../docs/api/openapi.yaml", []byte(before+begin+examples.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case written != examples.String():
		t.Errorf("the examples are\n%s\nand the server answers\n%s", written, examples.String())
	}
}
