package httpapi_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// What an instance's state or a policy refuses says nothing of how the registry is: operators are told to look at "failed".
func TestARefusalIsNoFailureInTheMetrics(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","owner":"o1"}`).want(t, 201)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`, "If-None-Match", "*").problem(t, 412, "exists", "")
	s.send("PUT", "/v1/services/web/instances/none", `{"address":"10.0.0.5"}`, "If-Match", "3").problem(t, 412, "revision-mismatch", "")
	s.send("PUT", a1+"/traffic", `{"traffic":"draining","owner":"o2"}`).problem(t, 409, "other-owner", "")
	s.send("PUT", "/v1/policies/p", `{"min_ready":"1"}`).want(t, 200)
	s.send("DELETE", a1, "").problem(t, 409, "guarded", "")
	if done := s.revert(t, wire.RevertRequest{Event: "1"}); len(done.Skipped) != 1 || done.Skipped[0].Why != "guarded" {
		t.Fatalf("the revert did %+v", done)
	}
	got := string(s.send("GET", "/metrics", "").want(t, 200).body)
	for _, line := range []string{`RegisterInstance",result="conflict"} 2`, `ChangeTraffic",result="conflict"} 1`, `DeregisterInstance",result="conflict"} 2`} {
		if !strings.Contains(got, `rollcall_commands_total{command="`+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if failed := regexp.MustCompile(`rollcall_commands_total\{.*result="failed"\} [1-9].*`).FindString(got); failed != "" {
		t.Errorf("the metrics have %s", failed)
	}
}

// A client that sends a condition means that nothing is changed unless it holds, and one that sends a reason means that it is kept.
func TestNoConditionAndNoReasonOfAChangeIsLost(t *testing.T) {
	s := start(t)
	parts := regexp.MustCompile(`:\w+`)
	for route, o := range described() {
		method, path, _ := strings.Cut(route, " ")
		if method == "GET" || strings.HasPrefix(path, "/v1/services/:service/instances") { // instances have revisions
			continue
		}
		path = parts.ReplaceAllString(path, "a")
		for _, header := range []string{"If-Match", "If-None-Match"} {
			if slices.Contains(o.parameters["header"], header) {
				t.Errorf("the description of %s has %s", route, header)
			}
			s.send(method, path, "", header, `"3"`).problem(t, 422, "invalid-field", header)
		}
		if method == "DELETE" && !strings.HasPrefix(path, "/v1/access/") { // those need the socket
			s.send(method, path, `{"reason":"r"}`).problem(t, 422, "invalid-field", "reason")
		}
	}
}

// Go trims more as white space than JSON has: a form feed, a no-break space.
func TestABodyHasTheWhiteSpaceOfJSONAndNoOther(t *testing.T) {
	s := start(t)
	parts := regexp.MustCompile(`:\w+`)
	for route := range described() {
		method, path, _ := strings.Cut(route, " ")
		if method == "GET" || strings.HasPrefix(path, "/v1/access/") || path == "/v1/backup" { // those need the socket
			continue
		}
		path = parts.ReplaceAllString(path, "a")
		for _, body := range []string{"\f", "\u00a0", "{}\f", "[]\v", "\u0085[]", "[1]\f"} {
			if p := s.send(method, path, body); p.StatusCode != 400 && p.StatusCode != 422 {
				t.Errorf("%s %s of %q gave %d: %s", method, path, body, p.StatusCode, p.body)
			}
		}
	}
	s.send("POST", "/v1/commands", "[{}]\f").problem(t, 400, "invalid-json", "")
	s.send("POST", "/v1/check-reports", "\f[{}]").problem(t, 400, "invalid-json", "")
	s.send("POST", "/v1/commands", `{"type":"Heartbeat"}`+"\f\n{}", "Content-Type", "application/x-ndjson").want(t, 200)
}

// A body that is said to be compressed is not read as if it were not, by the lane neither.
func TestACompressedBodyIsRefused(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	before := s.send("GET", "/v1/status", "").want(t, 200).Header.Get("Rollcall-Position")
	for _, c := range [][3]string{
		{"PUT", a1, `{"address":"10.0.0.6"}`},
		{"POST", "/v1/heartbeats", `["checkout/a-1"]`},
		{"POST", "/v1/commands", `[{"type":"Heartbeat","service":"checkout","id":"a-1"}]`},
		{"PUT", beatA1, `{}`},
		{"PUT", "/v1/policies/p", `{"min_ready":"1"}`},
		{"DELETE", a1, `{}`},
	} {
		r := s.send(c[0], c[1], c[2], "Content-Encoding", "gzip")
		r.problem(t, 415, "unsupported-media-type", "")
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%s %s: the reply has Accept-Encoding %q", c[0], c[1], got)
		}
	}
	if after := s.send("GET", "/v1/status", "").want(t, 200).Header.Get("Rollcall-Position"); after != before {
		t.Errorf("the position is %s, and was %s", after, before)
	}
}
