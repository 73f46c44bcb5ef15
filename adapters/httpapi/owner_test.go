package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestThePredecessorsLateRequestsAreRefused(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","owner":"old"}`).want(t, 201)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`).want(t, 200)
	s.send("PUT", a1+"/health", `{"status":"critical"}`).want(t, 200)
	r := s.send("PUT", a1, `{"address":"10.0.0.5","owner":"new"}`).want(t, 201)
	etag := r.Header.Get("ETag")
	item := func(fields string) string { return `{"service":"checkout","id":"a-1",` + fields + `}` }
	for name, late := range map[string]struct {
		send func(headers ...string) reply
		kind string
	}{
		"delete by epoch":    {func(h ...string) reply { return s.send("DELETE", a1+"?epoch=1", "", h...) }, "stale-epoch"},
		"delete by owner":    {func(h ...string) reply { return s.send("DELETE", a1+"?owner=old", "", h...) }, "other-owner"},
		"heartbeat by epoch": {func(h ...string) reply { return s.send("PUT", a1+"/heartbeat?epoch=1", "", h...) }, "stale-epoch"},
		"heartbeat by owner": {func(h ...string) reply { return s.send("PUT", a1+"/heartbeat?owner=old", "", h...) }, "other-owner"},
		"health by epoch":    {func(h ...string) reply { return s.send("PUT", a1+"/health", `{"status":"critical","epoch":1}`, h...) }, "stale-epoch"},
		"health by owner": {func(h ...string) reply {
			return s.send("PUT", a1+"/health", `{"status":"critical","owner":"old"}`, h...)
		}, "other-owner"},
		"traffic by owner": {func(h ...string) reply {
			return s.send("PUT", a1+"/traffic", `{"traffic":"draining","owner":"old"}`, h...)
		}, "other-owner"},
		"register by epoch": {func(h ...string) reply { return s.send("PUT", a1, `{"address":"10.0.0.5","epoch":1}`, h...) }, "stale-epoch"},
	} {
		late.send().problem(t, 409, late.kind, "")
		if got := late.send("If-Match", etag); got.StatusCode != 409 {
			t.Errorf("%s with the successor's ETag: %d %s", name, got.StatusCode, got.body)
		}
	}
	bodies := map[string]string{
		"/v1/heartbeats": "[" + item(`"owner":"old"`) + `,"checkout/nobody",` + item(`"owner":"new","epoch":2`) + `,null,` + item(`"colour":"red"`) + "]",
		"/v1/commands":   "[" + item(`"type":"SendHeartbeat","owner":"old"`) + `,null,` + strings.Replace(item(`"type":"RegisterInstance","address":"10.0.0.5","if_none_match":"*"`), "a-1", "b", 1) + `,` + strings.Replace(item(`"type":"DeregisterInstance","owner":"old"`), "a-1", "c", 1) + `,{"type":"Explode"}]`,
	}
	s.send("PUT", strings.Replace(a1, "a-1", "c", 1), `{"address":"10.0.0.5","owner":"new"}`).want(t, 201)
	for path, body := range bodies {
		results := s.send("POST", path, body).want(t, 200).batch(t, 5)
		if p := results[0].Problem; p == nil || p.Type != wire.TypePrefix+"other-owner" {
			t.Errorf("%s: the predecessor's gave %+v", path, p)
		}
		if results[1].Problem == nil {
			t.Errorf("%s: item 1 was taken", path)
		}
		if path == "/v1/heartbeats" {
			continue
		}
		if r := results[2]; r.Problem != nil || r.Epoch != 1 {
			t.Errorf("the registration gave %+v", r)
		}
		if p := results[3].Problem; p == nil || p.Type != wire.TypePrefix+"other-owner" {
			t.Errorf("the predecessor's shutdown gave %+v", p)
		}
		if p := results[4].Problem; p == nil || p.Field != "type" {
			t.Errorf("an unknown type gave %+v", p)
		}
	}
	var i wire.Instance
	s.send("GET", a1, "").want(t, 200).json(t, &i)
	if i.Owner != "new" || i.Epoch != 2 || i.Status != "passing" || i.Traffic != "serving" || `"`+fmt.Sprint(i.Revision)+`"` != etag {
		t.Errorf("the successor is %+v", i)
	}
	s.send("DELETE", a1+"?owner=", "").problem(t, 422, "invalid-field", "owner")
	s.send("DELETE", a1+"?epoch=", "").problem(t, 422, "invalid-field", "epoch")
	s.send("PUT", a1+"/health?epoch=1", `{"status":"critical"}`).problem(t, 422, "invalid-field", "epoch")
	s.send("DELETE", a1+"?owner=new&epoch=2", "").want(t, 200)
}

func TestPreconditionsOfARegistration(t *testing.T) {
	s := start(t)
	body := `{"address":"10.0.0.5"}`
	s.send("PUT", a1, body, "If-Match", `"0"`).problem(t, 412, "revision-mismatch", "")
	s.send("PUT", a1, body, "If-Match", "*").problem(t, 412, "revision-mismatch", "")
	s.send("PUT", a1, body, "If-None-Match", "*").want(t, 201)
	s.send("PUT", a1, body, "If-None-Match", "*").problem(t, 412, "exists", "")
	s.send("PUT", a1, body, "If-Match", "*").want(t, 200)
	s.send("PUT", a1, body, "If-None-Match", `"0"`).problem(t, 422, "invalid-field", "If-None-Match")
	for _, path := range []string{a1 + "/heartbeat", a1 + "/health", a1 + "/traffic"} {
		s.send("PUT", path, map[bool]string{true: "", false: `{"status":"passing"}`}[strings.HasSuffix(path, "heartbeat")], "If-None-Match", "*").want(t, 422)
	}
	s.send("DELETE", a1, "", "If-None-Match", "*").problem(t, 422, "invalid-field", "If-None-Match")
	s.send("DELETE", a1, "").want(t, 200)
	s.send("PUT", a1, body, "If-Match", `"1"`).problem(t, 412, "revision-mismatch", "")
	s.send("PUT", a1, body, "If-None-Match", "*").want(t, 201)
}

func TestMaintenanceSaysWhoWhenAndWhy(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", a1+"/traffic", `{"traffic":"maintenance","reason":"disk"}`).want(t, 200)
	requireMaintenance := func() {
		t.Helper()
		var i wire.Instance
		s.send("GET", a1, "").want(t, 200).json(t, &i)
		if i.Traffic != "maintenance" || i.Maintenance == nil || i.Maintenance.By != "anonymous" || i.Maintenance.Reason != "disk" || i.Maintenance.At.IsZero() {
			t.Errorf("it is %+v, maintenance %+v", i, i.Maintenance)
		}
	}
	requireMaintenance()
	s.send("DELETE", a1, "").want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	requireMaintenance()
	s.send("DELETE", a1, "").want(t, 200)
	s.send("PUT", a1+"/traffic", `{"traffic":"draining"}`).problem(t, 404, "unknown-instance", "")
	s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`).want(t, 200)
	if got := s.send("GET", a1, "").want(t, 410); !strings.Contains(string(got.body), "InstanceDeregistered") {
		t.Errorf("what took it out is %s", got.body)
	}
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	var i wire.Instance
	s.send("GET", a1, "").want(t, 200).json(t, &i)
	if i.Traffic != "serving" || i.Maintenance != nil {
		t.Errorf("it is %+v", i)
	}
}

func TestStatusIsWhatEventsMadeIt(t *testing.T) {
	s := start(t)
	status := func(want string) {
		t.Helper()
		var i wire.Instance
		if s.send("GET", a1, "").want(t, 200).json(t, &i); string(i.Status) != want {
			t.Errorf("it is %s, want %s", i.Status, want)
		}
	}
	s.send("PUT", a1, `{"address":"10.0.0.5","status":"passing"}`).want(t, 201)
	s.send("PUT", a1+"/health", `{"status":"critical"}`).want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 200)
	status("critical")
	s.send("PUT", a1, `{"address":"10.0.0.5","status":"passing"}`).want(t, 200)
	status("passing")
	s.send("PUT", a1, `{"address":"10.0.0.5","status":""}`).problem(t, 422, "invalid-field", "status")
	s.send("PUT", a1+"/health", `{"status":"critical"}`).want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.6","status":"unchanged"}`).want(t, 200)
	status("critical")
}

func TestIdsOfAllThatIsAllowedComeBackAsTheyWere(t *testing.T) {
	s := start(t)
	w := s.dial()
	for _, id := range []string{"pod@node-1", "a,b", "a+b", "~=", "!$&'()*;<>[]^`{|}", "a:80", "...", "heartbeat", strings.Repeat("x", 256)} {
		path := "/v1/services/Web.App_v2/instances/" + url.PathEscape(id)
		created := s.send("PUT", path, `{"address":"10.0.0.5"}`).want(t, 201)
		var r wire.Result
		created.json(t, &r)
		location, err := url.Parse(created.Header.Get("Location"))
		if err != nil || r.ID != id || location.Path != "/v1/services/Web.App_v2/instances/"+id {
			t.Errorf("%q gave %+v at %s, %v", id, r, location, err)
		}
		var i wire.Instance
		if s.send("GET", location.EscapedPath(), "").want(t, 200).json(t, &i); i.ID != id || i.Service != "Web.App_v2" {
			t.Errorf("%q is shown as %+v", id, i)
		}
		name, _ := json.Marshal("Web.App_v2/" + id)
		if got := s.send("POST", "/v1/heartbeats", "["+string(name)+"]").want(t, 200); !strings.HasPrefix(string(got.body), `{"succeeded":[{"index":0,`) {
			t.Errorf("%q in a batch gave %s", id, got.body)
		}
		if !strings.ContainsAny(id, "<>[]^`{|}") { // as it is in the lane
			w.say(request("PUT", "/v1/services/Web.App_v2/instances/"+id+"/heartbeat"))
			w.hear().want(t, 200)
		}
	}
	for id, escaped := range map[string]string{".": "%2e", "..": "%2E%2e", "a/b": "a%2Fb", "a%b": "a%25b", "%2e": "%252e", "%61": "%2561"} {
		if got := s.send("PUT", "/v1/services/web/instances/"+escaped, `{"address":"10.0.0.5"}`); got.StatusCode != 422 {
			t.Errorf("%q gave %d %s", id, got.StatusCode, got.body)
		}
	}
}

func TestNullIsRefusedWhereAValueMustBe(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	for body, field := range map[string]string{
		`null`: "body", `{"address":null}`: "address", `{"address":"::1","metadata":{"a":null}}`: "metadata.a",
		`{"address":"::1","ports":{"http":null}}`: "ports.http", `{"address":"::1","tags":["a",null]}`: "tags[1]",
	} {
		s.send("PUT", a1, body).problem(t, 422, "invalid-field", field)
	}
	s.send("PUT", a1+"/health", `{"status":null}`).problem(t, 422, "invalid-field", "status")
	s.send("PUT", a1+"/health", ` null `).problem(t, 422, "invalid-field", "body")
	s.send("PUT", a1+"/traffic", `{"traffic":null}`).problem(t, 422, "invalid-field", "traffic")
	s.send("POST", "/v1/heartbeats", `null`).problem(t, 422, "invalid-field", "body")
	s.send("POST", "/v1/webhooks", `null`).problem(t, 422, "invalid-field", "body")
	s.send("POST", "/v1/webhooks", `{"url":"http://x","types":[null]}`).problem(t, 422, "invalid-field", "types[0]")
	if p := s.send("POST", "/v1/commands", `[{"type":"RegisterInstance","service":"web","id":"a","address":"::1","metadata":{"a":null}}]`).want(t, 200).batch(t, 1)[0].Problem; p == nil || p.Field != "metadata.a" {
		t.Errorf("null in a map gave %+v", p)
	}
	if got := s.send("POST", "/v1/heartbeats", `["checkout/a-1",null]`).want(t, 200).batch(t, 2); got[0].Problem != nil || got[1].Problem == nil {
		t.Errorf("null in a batch gave %+v", got)
	}
	s.send("PUT", a1, `{"address":"10.0.0.5","zone":null,"ttl":null,"tags":null,"metadata":null,"status":null,"note":null}`).problem(t, 422, "invalid-field", "note")
	s.send("PUT", a1, `{"address":"10.0.0.5","zone":null,"ttl":null,"tags":null,"metadata":null,"status":null}`).want(t, 200)
}

func TestAHistoryNeverTellsAStatusThatWasNotPresent(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","status":"starting"}`).want(t, 201)
	s.send("PUT", a1+"/health", `{"status":"passing"}`).want(t, 200)
	s.send("PUT", a1+"/health", `{"status":"critical"}`).want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.5","status":"passing","zone":"eu"}`).want(t, 200)
	s.send("PUT", a1, `{"address":"10.0.0.6","zone":"eu"}`).want(t, 200)
	var page wire.HistoryPage
	s.send("GET", a1+"/history?order=oldest", "").want(t, 200).json(t, &page)
	var told []string
	for _, e := range page.Entries {
		for _, c := range e.Changes {
			told = append(told, fmt.Sprintf("%s: %v to %v", c.Field, c.From, c.To))
		}
	}
	want := "status: starting to passing, status: passing to critical, zone:  to eu, status: critical to passing, address: 10.0.0.5 to 10.0.0.6"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
}

// Each of these would reach something else than its client meant, if it were taken.
func TestAHalfWrittenPreconditionIsRefused(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","owner":"new"}`).want(t, 201)
	s.send("PUT", a1+"/heartbeat", `{"owner":"old"}`).problem(t, 422, "invalid-field", "owner")
	s.send("DELETE", a1, `{"owner":"old"}`).problem(t, 422, "invalid-field", "owner")
	s.send("DELETE", a1+"?ns=", "").problem(t, 422, "invalid-field", "ns")
	s.send("DELETE", a1+"?namespace=", "").problem(t, 422, "invalid-field", "ns")
	s.send("DELETE", a1, "", "If-Match", "").problem(t, 422, "invalid-field", "If-Match")
	s.send("DELETE", a1, "", "If-Match", `"0", "7"`).problem(t, 422, "invalid-field", "If-Match")
	s.send("PUT", a1+"/heartbeat", `{}`).want(t, 200)
	s.send("DELETE", a1, `{}`).want(t, 200)
}

func TestMaintenanceOfWhatIsGoneIsNotEndedAgainstItsPrecondition(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", a1+"/traffic", `{"traffic":"maintenance"}`).want(t, 200)
	s.send("DELETE", a1, "").want(t, 200)
	for _, match := range []string{"*", `"0"`, `"2"`} { // "2" is the revision, but nothing is live
		s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`, "If-Match", match).problem(t, 412, "revision-mismatch", "")
	}
	s.send("PUT", a1+"/traffic", `{"traffic":"serving"}`).want(t, 200)
}

func TestABatchOfHeartbeatsNamesItsOwnerOnce(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/checkout/instances/a-1", `{"address":"10.0.0.5","owner":"new"}`).want(t, 201)
	s.send("PUT", "/v1/services/checkout/instances/a-2", `{"address":"10.0.0.5","owner":"old"}`).want(t, 201)
	for _, body := range []string{`["checkout/a-1","checkout/none/","checkout/a-2"]`, `[{"service":"checkout","id":"a-1"},null,"checkout/a-2"]`} {
		items := s.send("POST", "/v1/heartbeats?owner=old", body).want(t, 200).batch(t, 3)
		if p := items[0].Problem; p == nil || p.Type != wire.TypePrefix+"other-owner" || items[1].Problem == nil || items[2].Problem != nil {
			t.Errorf("%s gave %+v", body, items)
		}
	}
	if own := s.send("POST", "/v1/heartbeats?owner=old", `[{"service":"checkout","id":"a-1","owner":"new"}]`).want(t, 200).batch(t, 1); own[0].Problem != nil {
		t.Errorf("the item's own owner does not count: %+v", own[0].Problem)
	}
	s.send("POST", "/v1/heartbeats?owner=", `["checkout/a-1"]`).problem(t, 422, "invalid-field", "owner")
}
