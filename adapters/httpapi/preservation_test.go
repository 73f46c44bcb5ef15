package httpapi_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

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

// Whoever looks at services or an instance sees that expiry is held, since when, by whom and why.
func TestRepliesShowThatExpiryIsHeld(t *testing.T) {
	s := start(t)
	for _, ns := range []string{"default", "prod"} {
		s.send("PUT", "/v1/services/web/instances/a?ns="+ns, `{"address":"10.0.0.5"}`).want(t, 201)
	}
	type shown struct {
		list     map[string]wire.ExpiryHeld
		service  *wire.ExpiryHeld
		instance *wire.ExpiryHeld
		header   string // of the list of instances
	}
	look := func(ns string) (got shown) {
		t.Helper()
		var list wire.ServiceList
		s.send("GET", "/v1/services?ns="+ns, "").want(t, 200).json(t, &list)
		got.list = list.ExpiryHeld
		if ns == "*" {
			return got
		}
		var service wire.ServiceSummary
		s.send("GET", "/v1/services/web?ns="+ns, "").want(t, 200).json(t, &service)
		var instance wire.Instance
		s.send("GET", "/v1/services/web/instances/a?ns="+ns, "").want(t, 200).json(t, &instance)
		got.service, got.instance = service.ExpiryHeld, instance.ExpiryHeld
		got.header = s.send("GET", "/v1/services/web/instances?ns="+ns, "").want(t, 200).Header.Get("Rollcall-Expiry-Held")
		return got
	}
	if got := look("prod"); !reflect.DeepEqual(got, shown{}) {
		t.Errorf("at first it shows %+v", got)
	}
	etag := s.send("GET", "/v1/services?ns=prod", "").Header.Get("ETag")
	s.send("PUT", "/v1/preservation?ns=prod", `{"held":true,"reason":"rack 4"}`).want(t, 200)
	s.send("GET", "/v1/services?ns=prod", "", "If-None-Match", etag).want(t, 200)
	got := look("prod")
	held, ok := got.list["prod"]
	if want := (wire.ExpiryHeld{Since: held.Since, Forced: true, Actor: "anonymous", Reason: "rack 4"}); !ok || held != want || held.Since.IsZero() {
		t.Fatalf("held, the list shows %+v", got.list)
	}
	if got.service == nil || *got.service != held || got.instance == nil || *got.instance != held || got.header != held.Since.Format(time.RFC3339Nano) {
		t.Errorf("held, it shows %+v", got)
	}
	if got := look("default"); !reflect.DeepEqual(got, shown{}) {
		t.Errorf("of another namespace it shows %+v", got)
	}
	s.send("PUT", "/v1/preservation?ns=*", `{"held":true}`).want(t, 200)
	s.send("PUT", "/v1/preservation?ns=prod", `{"held":false}`).want(t, 200)
	all := look("*").list
	if _, named := all["prod"]; named || len(all) != 1 || !all["*"].Forced {
		t.Errorf("held everywhere but in prod, the list of all shows %+v", all)
	}
	if d := look("default"); d.service == nil || len(d.list) != 1 || !d.list["default"].Forced || look("prod").service != nil {
		t.Errorf("held everywhere but in prod, default shows %+v", d)
	}
	var past wire.ServiceList
	s.send("GET", "/v1/services?at=now", "").want(t, 200).json(t, &past)
	if past.ExpiryHeld != nil {
		t.Error("a past catalog says what holds now")
	}
}
