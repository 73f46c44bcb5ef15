package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// wrongPlaces are bodies by the field that is wrong in them, with its whole place.
var wrongPlaces = []struct{ method, path, body, field string }{
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","adress":"b"}`, "adress"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"ttl","ttl":"15s","intervall":"1s"}]}`, "checks[0].intervall"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"ttl","ttl":"15s"},{"id":"b","kind":"ttl","ttl":"15s","\u0069ntervall":"1s"}]}`, "checks[1].intervall"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"tcp","target":"a:1","Interval":"1s"}]}`, "checks[0].Interval"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"tcp","target":"a:1","interval":1}]}`, "checks[0].interval"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"http","url":"http://a/","headers":{"X":1}}]}`, "checks[0].headers.X"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"http","url":"http://a/","headers":{"X":"a\u0001"}}]}`, "checks[0].headers.X"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"http","url":"http://a/","expected_statuses":["200","many"]}]}`, "checks[0].expected_statuses[1]"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"http","url":"http://a/","expected_statuses":[200,null]}]}`, "checks[0].expected_statuses[1]"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[{"id":"a","kind":"http","url":"http://a/","warning_statuses":[429,600]}]}`, "checks[0].warning_statuses[1]"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","checks":[1]}`, "checks[0]"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","ports":{"http":"8080"}}`, "ports.http"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","ports":{"http":70000}}`, "ports.http"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","metadata":{"team":7}}`, "metadata.team"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","metadata":{"team":null}}`, "metadata.team"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","tags":["a","b",3]}`, "tags[2]"},
	{"PUT", "/v1/services/web/instances/a", `{"address":"a","weight":"100"}`, "weight"},
	{"POST", "/v1/services/web/instances", `{"address":"a","checks":[{"id":"a","kind":"ttl","tll":"15s"}]}`, "checks[0].tll"},
	{"PUT", "/v1/services/web/instances/a/checks/c", `{"kind":"ttl","tll":"15s"}`, "tll"},
	{"PUT", "/v1/services/web/instances/a/checks/c", `{"kind":"http","url":"http://a/","headers":{"X":[1]}}`, "headers.X"},
	{"PUT", "/v1/services/web/instances/a/checks/c", `{"kind":"http","url":"http://a/","expected_statuses":["200","x"]}`, "expected_statuses[1]"},
	{"POST", "/v1/services/web/instances/a/checks/c/pass", `{"outputs":"x"}`, "outputs"},
	{"PUT", "/v1/services/web/instances/a/health", `{"status":"passing","reson":"x"}`, "reson"},
	{"PUT", "/v1/services/web/instances/a/traffic", `{"traffic":"draining","reason":1}`, "reason"},
	{"POST", "/v1/reverts", `{"to":"now","kinds":["checks","leases"]}`, "kinds[1]"},
	{"POST", "/v1/reverts", `{"to":"now","kinds":["checks",{"a":1}]}`, "kinds[1]"},
	{"POST", "/v1/reverts", `{"to":"now","kind":["checks"]}`, "kind"},
	{"PUT", "/v1/policies/p", `{"max_removals":{"count":1,"within":"1m","withing":"1m"}}`, "max_removals.withing"},
	{"PUT", "/v1/policies/p", `{"max_removals":{"count":"1","within":"1m"}}`, "max_removals.count"},
	{"PUT", "/v1/policies/p", `{"max_removals":{"count":1,"within":"never"}}`, "max_removals.within"},
	{"PUT", "/v1/policies/p", `{"min_ready":"1","keep":1}`, "keep"},
	{"POST", "/v1/webhooks", `{"url":"https://example.com","types":["LeaseExpired","No"]}`, "types[1]"},
	{"POST", "/v1/webhooks", `{"url":"https://example.com","types":["LeaseExpired",1]}`, "types[1]"},
	{"POST", "/v1/webhooks", `{"url":"https://example.com","type":["LeaseExpired"]}`, "type"},
	{"POST", "/v1/access/tokens", `{"name":"ci","roles":["reader","nobody"]}`, "roles[1]"},
	{"POST", "/v1/access/tokens", `{"name":"ci","roles":["reader"],"networks":["10.0.0.0/8","everywhere"]}`, "networks[1]"},
	{"POST", "/v1/access/tokens", `{"name":"ci","roles":["reader"],"networks":[]}`, "networks"},
	{"POST", "/v1/access/tokens", `{"name":"ci","roles":["reader"],"services":["pay*","*pay"]}`, "services[1]"},
	{"POST", "/v1/access/tokens", `{"name":"ci","roles":["reader"],"instances":["a",7]}`, "instances[1]"},
	{"PUT", "/v1/access/roles/r", `{"grants":[{"verbs":["write"]},{"verbs":["read-catalog","fly"]}]}`, "grants[1].verbs[1]"},
	{"PUT", "/v1/access/roles/r", `{"grants":[{"verbs":["write"],"name_space":"a"}]}`, "grants[0].name_space"},
	{"PUT", "/v1/access/roles/r", `{"grants":[{"verbs":[]}]}`, "grants[0].verbs"},
	{"PUT", "/v1/access/roles/r", `{"grants":[{"verbs":["write"],"service":"*x"}]}`, "grants[0].service"},
	{"PUT", "/v1/access/roles/r", `{"grants":[{"verbs":"write"}]}`, "grants[0].verbs"},
}

// What is wrong in a body is named with its whole place: the path through objects, and the indexes in arrays.
func TestAWrongFieldIsNamedWithItsPlace(t *testing.T) {
	g := startGuarded(t)
	admin := g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	g.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1","checks":[{"id":"c","kind":"ttl","ttl":"15s"}]}`, admin...).want(t, 201)
	for _, c := range wrongPlaces {
		var p wire.Problem
		r := g.send(c.method, c.path, c.body, admin...)
		r.want(t, 422).json(t, &p)
		if p.Field != c.field {
			t.Errorf("%s %s %s: refused for %q, want %q: %s", c.method, c.path, c.body, p.Field, c.field, p.Detail)
		}
	}
}

// An item of a batch says its index, and names its field from the item on, as the route of the single command does.
func TestAWrongFieldOfABatchIsNamedWithItsPlaceInTheItem(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1","checks":[{"id":"c","kind":"ttl","ttl":"15s"}]}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/b", `{"address":"10.0.0.2"}`).want(t, 201)
	for _, c := range []struct{ path, right, wrong, field string }{
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"RegisterInstance","service":"web","id":"b","address":"a","checks":[{"id":"a","kind":"ttl","ttl":"1s"},{"id":"b","kind":"ttl","tll":"1s"}]}`, "checks[1].tll"},
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"RegisterInstance","service":"web","id":"b","address":"a","checks":[{"id":"a","kind":"tcp","target":"a:1","timeout":[1]}]}`, "checks[0].timeout"},
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"RegisterInstance","service":"web","id":"b","address":"a","tags":["x",{}]}`, "tags[1]"},
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"AddCheck","service":"web","id":"a","check":{"id":"d","kind":"ttl","ttl":"15s","interwal":"1s"}}`, "check.interwal"},
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"AddCheck","service":"web","id":"b","check":{"id":"d","kind":"http","url":"http://a/","interval":5}}`, "check.interval"},
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"AddCheck","service":"web","id":"b","check":{"id":"d","kind":"http","url":"http://a/","interval":"2h"}}`, "check.interval"},
		{"/v1/commands", `{"type":"SendHeartbeat","service":"web","id":"a"}`, `{"type":"AddCheck","service":"web","id":"b","check":{"id":"d","kind":"http","url":"http://a/","expected_statuses":["200","x"]}}`, "check.expected_statuses[1]"},
		{"/v1/check-reports", `{"service":"web","id":"a","check":"c"}`, `{"service":"web","id":"a","check":"c","outputs":"x"}`, "outputs"},
		{"/v1/check-reports", `{"service":"web","id":"a","check":"c"}`, `{"service":"web","id":"a","check":"c","output":7}`, "output"},
		{"/v1/heartbeats", `"web/a"`, `{"service":"web","id":"a","ephoc":1}`, "ephoc"},
		{"/v1/heartbeats", `"web/a"`, `{"service":"web","id":"a","epoch":"1"}`, "epoch"},
	} {
		body := fmt.Sprintf("[%s,%s]", c.right, c.wrong)
		items := s.send("POST", c.path, body).want(t, 200).batch(t, 2)
		if items[0].Problem != nil || items[1].Problem == nil || items[1].Problem.Field != c.field {
			t.Errorf("%s %s: gave %+v and %+v, want the field %q", c.path, body, items[0].Problem, items[1].Problem, c.field)
		}
	}
}
