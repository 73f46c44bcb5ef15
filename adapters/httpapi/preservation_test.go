package httpapi_test

import (
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestAnOperatorHoldsExpiryOverHTTP(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a?ns=prod", `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5"}`).want(t, 201)
	var p wire.Preservation
	s.send("GET", "/v1/preservation", "").want(t, 200).json(t, &p)
	if len(p.Namespaces) != 2 || p.Namespaces[0].Namespace != "default" || p.Namespaces[0].Held || p.Namespaces[0].Leases != 1 {
		t.Fatalf("at first it is %+v", p)
	}
	warned := func(path string) bool {
		return strings.Contains(s.send("GET", path, "").want(t, 200).Header.Get("Rollcall-Warning"), "self-preservation")
	}
	for range 2 { // the second changes nothing
		s.send("PUT", "/v1/preservation?ns=prod", `{"held":true,"reason":"rack 4"}`).want(t, 200).json(t, &p)
		if n := p.Namespaces[0]; len(p.Namespaces) != 1 || !n.Held || !n.Forced || n.Since == nil || n.Actor != "anonymous" || n.Reason != "rack 4" {
			t.Fatalf("held, it is %+v", p)
		}
	}
	if !warned("/v1/services?ns=prod") || !warned("/v1/services?ns=*") || warned("/v1/services/web/instances") {
		t.Error("the wrong replies warn")
	}
	s.send("PUT", "/v1/preservation?ns=prod", `{"held":false,"reason":"done"}`).want(t, 200).json(t, &p)
	if n := p.Namespaces[0]; n.Held || n.Reason != "done" || warned("/v1/services?ns=prod") {
		t.Errorf("ended, it is %+v", p)
	}
	s.send("PUT", "/v1/preservation?ns=*", `{"held":true}`).want(t, 200)
	if !warned("/v1/services/web/instances") || !warned("/v1/services?ns=prod") {
		t.Error("expiry is not held everywhere")
	}
	s.send("PUT", "/v1/preservation?ns=prod", `{"held":false}`).want(t, 200)
	if !warned("/v1/services/web/instances") || warned("/v1/services?ns=prod") {
		t.Error("the end in one namespace is not its own")
	}
	s.send("PUT", "/v1/preservation?ns=*", `{"held":false}`).want(t, 200)
	if warned("/v1/services/web/instances") {
		t.Error("the end everywhere is none")
	}
	s.send("PUT", "/v1/preservation", `{}`).problem(t, 422, "invalid-field", "held")
	s.send("PUT", "/v1/preservation?ns=Not_One", `{"held":true}`).problem(t, 422, "invalid-field", "ns")
	var h page
	s.send("GET", "/v1/history?type=SelfPreservationStarted,SelfPreservationEnded&order=oldest", "").want(t, 200).json(t, &h)
	var told []string
	for _, e := range h.Entries {
		told = append(told, e.Summary)
	}
	if got := strings.Join(told, "; "); got != "an operator holds expiry in namespace prod: rack 4; an operator ended self-preservation in namespace prod: done; "+
		"an operator holds expiry in every namespace; an operator ended self-preservation in namespace prod; an operator ended self-preservation in every namespace" {
		t.Errorf("the history tells: %s", got)
	}
}
