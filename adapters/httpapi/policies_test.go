package httpapi_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestAPolicyRefusesARemovalWithItsNameAndTheNumbers(t *testing.T) {
	s := start(t)
	for _, id := range []string{"a-1", "a-2"} {
		s.send("PUT", "/v1/services/checkout/instances/"+id, `{"address":"10.0.0.5","owner":"pod"}`).want(t, 201)
	}
	var set wire.Policy
	s.send("PUT", "/v1/policies/keep-checkout", `{"namespace":"default","service":"check*","min_ready":"2"}`).want(t, 200).json(t, &set)
	if set.SetBy != "anonymous" || set.SetAt.IsZero() || len(set.Notes) != 0 || set.MinReady != "2" {
		t.Errorf("set: %+v", set)
	}
	var p wire.Problem
	s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`).want(t, 409).json(t, &p)
	if p.Type != "urn:rollcall:problem:guarded" || p.Guard == nil || p.Guard.Policy != "keep-checkout" || p.Guard.Ready != 2 || p.Guard.Left != 1 || p.Guard.Needed != 2 || p.Guard.SetBy != "anonymous" {
		t.Errorf("the refusal is %+v", p)
	}
	s.send("DELETE", a1, "").problem(t, 409, "guarded", "")
	s.send("DELETE", a1+"?force=true", "").problem(t, 422, "invalid-field", "reason")
	batch := s.send("POST", "/v1/commands", `[{"type":"DeregisterInstance","service":"checkout","id":"a-1"},{"type":"ChangeTraffic","service":"checkout","id":"a-2","traffic":"maintenance"}]`).want(t, 200)
	if n := strings.Count(string(batch.body), "urn:rollcall:problem:guarded"); n != 2 {
		t.Errorf("the batch gave %s", batch.body)
	}
	s.send("PUT", a1+"/traffic", `{"traffic":"draining","owner":"pod"}`).want(t, 200) // the instance itself
	s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`).want(t, 200)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining","force":true,"reason":"disk is broken"}`).want(t, 200)
	var page wire.HistoryPage
	s.send("GET", a1+"/history", "").want(t, 200).json(t, &page)
	if want := "traffic went from serving to draining: disk is broken; forced past policy keep-checkout"; page.Entries[0].Summary != want {
		t.Errorf("the history says %q", page.Entries[0].Summary)
	}
	s.send("GET", "/v1/policies/keep-checkout", "").want(t, 200).json(t, &set)
	if len(set.Notes) != 1 || !strings.Contains(set.Notes[0], "default/checkout has 1 of 2 instances ready, fewer than 2") {
		t.Errorf("a policy that is not met says %q", set.Notes)
	}
	s.send("DELETE", "/v1/policies/keep-checkout?reason=over", "").want(t, 204)
	s.send("DELETE", a1, "").want(t, 200)
	s.send("GET", "/v1/history?type=PolicySet,PolicyRemoved,RemovalAdmitted", "").want(t, 200).json(t, &page)
	var words []string
	for _, e := range page.Entries {
		words = append(words, e.Summary)
	}
	for i, want := range []string{"policy keep-checkout removed: over", "drain of checkout/a-1 forced past policy keep-checkout: 1 of 2 instances are left ready: disk is broken", "policy keep-checkout for default/check*: min_ready 2"} {
		if i >= len(words) || words[i] != want {
			t.Errorf("the history says %q", words)
		}
	}
}

func TestBadPoliciesAreRefusedByName(t *testing.T) {
	s := start(t)
	for body, field := range map[string]string{
		`{}`: "min_ready", `{"min_ready":"0"}`: "min_ready", `{"min_ready":"101%"}`: "min_ready", `{"min_ready":"a lot"}`: "min_ready", `{"min_ready":"02"}`: "min_ready",
		`{"max_removals":{"count":0,"within":"1m"}}`: "max_removals.count", `{"max_removals":{"count":1,"within":"25h"}}`: "max_removals.within",
		`{"min_ready":"1","namespace":"a*b"}`: "namespace", `{"min_ready":"1","service":"*x"}`: "service", `{"min_ready":"1","namespace":"BAD"}`: "namespace", `{"min_ready":"1","service":"-pay*"}`: "service", `{"surprise":1}`: "surprise",
		`{"panic_threshold":"2"}`: "panic_threshold", `{"panic_threshold":"0%"}`: "panic_threshold", `{"panic_threshold":"101%"}`: "panic_threshold", `{"panic_threshold":"%"}`: "panic_threshold",
	} {
		s.send("PUT", "/v1/policies/p", body).problem(t, 422, "invalid-field", field)
	}
	s.send("PUT", "/v1/policies/-p", `{"min_ready":"1"}`).problem(t, 422, "invalid-field", "name")
	s.send("GET", "/v1/policies/p", "").problem(t, 404, "unknown-policy", "")
	s.send("DELETE", "/v1/policies/p", "").problem(t, 404, "unknown-policy", "")
	s.send("PUT", "/v1/policies/p", `{"min_ready":"50%","description":"half"}`).want(t, 200)
	var list wire.PolicyList
	s.send("GET", "/v1/policies", "").want(t, 200).json(t, &list)
	if len(list.Policies) != 1 || len(list.Policies[0].Notes) != 1 || list.Policies[0].Notes[0] != "it is for no service that has instances now" || list.Policies[0].Namespace != "*" || list.Policies[0].Service != "*" {
		t.Errorf("the list has %+v", list)
	}
}

// A revert that takes instances out of traffic is a removal like any other.
func TestARevertIsGuarded(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`).want(t, 200)
	then := s.now()
	s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`).want(t, 200)
	s.send("PUT", "/v1/policies/p", `{"min_ready":"1"}`).want(t, 200)
	done := s.revert(t, wire.RevertRequest{To: then})
	if done.Instances != 0 || len(done.Skipped) != 1 || done.Skipped[0].Why != "guarded" {
		t.Fatalf("it did %+v", done)
	}
	if detail := done.Skipped[0].Detail; !strings.HasPrefix(detail, "policy p,") || strings.Contains(detail, "force") {
		t.Errorf("it says %q, and a revert has no force", detail)
	}
}

func TestAReplySaysThatAServicePanics(t *testing.T) {
	s := start(t)
	const all = "/v1/services/checkout/instances?ready=true"
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", "/v1/services/checkout/instances/a-2", `{"address":"10.0.0.6","status":"critical"}`).want(t, 201)
	before := s.send("GET", all, "").want(t, 200)
	s.send("PUT", "/v1/policies/most", `{"panic_threshold":"51%"}`).want(t, 200)
	r := s.send("GET", all, "", "If-None-Match", before.Header.Get("ETag")).want(t, 200)
	var list wire.InstanceList
	r.json(t, &list)
	if p := list.Panic; p == nil || *p != (wire.Panic{Policy: "most", Threshold: "51%", Ready: 1, Instances: 2}) || len(list.Instances) != 2 || r.Header.Get("Rollcall-Panic") != "most" {
		t.Errorf("it gives %s with the policy %q", r.body, r.Header.Get("Rollcall-Panic"))
	}
	if w := r.Header.Get("Rollcall-Warning"); w != "panic: all instances are given, ready or not: 1 of 2 instances of default/checkout are ready, fewer than the 51% of policy most" {
		t.Errorf("it warns %q", w)
	}
	var summary wire.ServiceSummary
	s.send("GET", "/v1/services/checkout", "").want(t, 200).json(t, &summary)
	if summary.Panic == nil || summary.Ready != 1 {
		t.Errorf("the service is %+v", summary)
	}
	if r := s.send("GET", all+"&at="+before.Header.Get("Rollcall-Position"), "").want(t, 200); strings.Contains(string(r.body), "a-2") || r.Header.Get("Rollcall-Panic") != "" {
		t.Errorf("of the past it gives %s", r.body)
	}
}

// All policies are events of one stream, and so are tokens and roles: whoever makes many at once is not told to try again.
func TestPoliciesAndRolesMadeAtOnceAreAllMade(t *testing.T) {
	var config *httpapi.Config
	startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) { config = c })
	policies, access := config.PolicyCommands, config.AccessCommands
	caller := commands.Caller{Actor: "a", Source: "b"}
	var making sync.WaitGroup
	for i := range 40 {
		making.Go(func() {
			role := domain.SetRole{Name: fmt.Sprint("r", i), Grants: []domain.RoleGrant{{Verbs: []string{"write"}}}}
			policy := domain.SetPolicy{Name: fmt.Sprint("p", i), Spec: domain.PolicySpec{MinReady: "1"}}
			if err := errors.Join(access.Do(t.Context(), caller, role), policies.Do(t.Context(), caller, policy)); err != nil {
				t.Error(err)
			}
		})
	}
	making.Wait()
}
