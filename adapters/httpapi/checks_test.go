package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

const checkedBody = `{"address":"10.0.0.5","ports":{"http":8080,"grpc":9090},"ttl":"30s","on_lapse":"critical","remove_after":"10m",
 "checks":[{"id":"http","kind":"http","url":"http://10.0.0.5:8080/health","interval":"10s","timeout":"2s","failures":2,"expected_statuses":["200","300-399"],"warning_statuses":["429"]},
           {"id":"worker","kind":"ttl","ttl":"15s"},
           {"id":"grpc","kind":"grpc","port":"grpc","grpc_service":"checkout.v1.Checkout"}]}`

func TestARegistrationHasChecks(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", checkedBody).want(t, http.StatusCreated)
	var i wire.Instance
	s.send("GET", "/v1/services/web/instances/a", "").want(t, http.StatusOK).json(t, &i)
	if i.Status != "starting" || i.Reported != "passing" || len(i.Checks) != 3 || i.Checks[1].LapsesAt == nil || i.OnLapse != "critical" || i.RemoveAfter.String() != "10m0s" {
		t.Fatalf("shown as %+v", i)
	}
	if c := i.Checks[0]; c.Status != "starting" || c.Failures != 2 || c.Since.IsZero() || fmt.Sprint(c.ExpectedStatuses, c.WarningStatuses) != "[{200 200} {300 399}] [{429 429}]" {
		t.Errorf("http is %+v", c)
	}
	if c := i.Checks[2]; c.Interval.String() != "10s" || c.Timeout.String() != "2s" {
		t.Errorf("grpc is %+v", c)
	}
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","ports":{"http":8080,"grpc":9090},"ttl":"30s","on_lapse":"critical","remove_after":"10m"}`).want(t, http.StatusOK)
	s.send("PUT", "/v1/services/web/instances/b", `{"address":"10.0.0.6","ttl":"none"}`).want(t, http.StatusCreated)
	var list wire.InstanceList
	s.send("GET", "/v1/services/web/instances", "").want(t, http.StatusOK).json(t, &list)
	if len(list.Instances[0].Checks) != 3 || list.Instances[1].TTL.String() != "none" {
		t.Errorf("listed as %+v", list)
	}
	s.send("GET", "/v1/services/web/instances/b", "").want(t, http.StatusOK)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","checks":[]}`).want(t, http.StatusOK)
	i = wire.Instance{}
	s.send("GET", "/v1/services/web/instances/a", "").want(t, http.StatusOK).json(t, &i)
	if i.Status != "passing" || i.Checks != nil {
		t.Errorf("without checks it is %+v", i)
	}
}

func TestTTLChecksAreReported(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","ttl":"none","checks":[{"id":"worker","kind":"ttl","ttl":"15s"}]}`).want(t, http.StatusCreated)
	const path = "/v1/services/web/instances/a/checks/worker"
	var r wire.Result
	s.send("POST", path+"/pass", "").want(t, http.StatusOK).json(t, &r)
	if r.Revision != 1 || r.Epoch != 1 {
		t.Errorf("the first pass gave %+v", r)
	}
	s.send("POST", path+"/pass", `{}`).want(t, http.StatusOK).json(t, &r)
	if r.Revision != 1 {
		t.Errorf("the second pass gave %+v", r)
	}
	s.send("POST", path+"/warn", `{"output":"queue\u0007 is long"}`).want(t, http.StatusOK)
	s.send("POST", path+"/fail", fmt.Sprintf(`{"output":%q}`, strings.Repeat("x", 5000))).want(t, http.StatusOK)
	var list wire.CheckList
	s.send("GET", "/v1/services/web/checks?status=critical", "").want(t, http.StatusOK).json(t, &list)
	if c := list.Instances[0].Checks[0]; len(list.Instances) != 1 || c.Status != "critical" || len(c.Output) != 4096 {
		t.Errorf("listed as %+v", list)
	}
	list = wire.CheckList{}
	s.send("GET", "/v1/services/web/checks?status=passing&instance=a", "").want(t, http.StatusOK).json(t, &list)
	if len(list.Instances) != 0 {
		t.Errorf("listed as %+v", list)
	}
	for path, want := range map[string]string{
		"/v1/services/web/instances/a/history": "check worker went warning, says the client: queue is long",
		"/v1/services/web/history":             "check worker went critical, says the client: xxxx",
	} {
		if got := s.send("GET", path, "").want(t, http.StatusOK); !strings.Contains(string(got.body), want) {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	for check, n := range map[string]int{"worker": 1, "worker:critical": 1, "*:critical": 1, "worker:passing": 0, "other": 0} {
		var found wire.InstanceList
		s.send("GET", "/v1/services/web/instances?check="+check, "").want(t, http.StatusOK).json(t, &found)
		if len(found.Instances) != n {
			t.Errorf("%s finds %d, want %d", check, len(found.Instances), n)
		}
	}
	s.send("GET", "/v1/services/web/checks?instance=z", "").want(t, http.StatusNotFound)
	s.send("GET", "/v1/services/none/checks", "").want(t, http.StatusNotFound)
	s.send("GET", "/v1/services/web/checks?instance=%20", "").want(t, http.StatusUnprocessableEntity)
}

func TestChecksAreAddedAndRemoved(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","ports":{"pg":5432}}`).want(t, http.StatusCreated)
	const path = "/v1/services/web/instances/a/checks/db"
	s.send("PUT", path, `{"kind":"tcp","port":"pg"}`).want(t, http.StatusOK)
	again := s.send("PUT", path, `{"id":"db","kind":"tcp","port":"pg","interval":"10s"}`).want(t, http.StatusOK)
	if again.Header.Get("ETag") != `"1"` {
		t.Errorf("the same check again gave revision %s", again.Header.Get("ETag"))
	}
	s.send("PUT", path, `{"id":"other","kind":"tcp","port":"pg"}`).refused(t, "id")
	s.send("PUT", path, `{"kind":"tcp","port":"my sql"}`).refused(t, "port")
	s.send("POST", path+"/pass", "").refused(t, "check")
	s.send("DELETE", path+"?epoch=7", "").want(t, http.StatusConflict)
	s.send("DELETE", path, "").want(t, http.StatusOK)
	s.send("DELETE", path, "").want(t, http.StatusNotFound)
	for _, method := range []string{"PUT", "DELETE"} {
		body := ""
		if method == "PUT" {
			body = `{"kind":"tcp","target":"10.0.0.5:1"}`
		}
		s.send(method, "/v1/services/web/instances/gone/checks/db", body).want(t, http.StatusNotFound)
	}
}

// refused wants a refusal that names the field.
func (r reply) refused(t testing.TB, field string) {
	t.Helper()
	var p wire.Problem
	r.want(t, http.StatusUnprocessableEntity).json(t, &p)
	if p.Field != field {
		t.Errorf("%s %s: refused for %q, want %q: %s", r.Request.Method, r.Request.URL, p.Field, field, p.Detail)
	}
}

func TestBadChecksAreRefusedByField(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ check, field string }{
		{`{"id":"a","kind":"icmp"}`, "checks[0].kind"},
		{`{"kind":"ttl","ttl":"15s"}`, "checks[0].id"},
		{`{"id":"a","kind":"ttl"}`, "checks[0].ttl"},
		{`{"id":"a","kind":"ttl","ttl":"soon"}`, "checks[0].ttl"},
		{`{"id":"a","kind":"ttl","ttl":"none"}`, "checks[0].ttl"},
		{`{"id":"a","kind":"http","url":"http://a/","interval":"soon"}`, "checks[0].interval"},
		{`{"id":"a","kind":"http","url":"http://a/","interval":"0s"}`, "checks[0].interval"},
		{`{"id":"a","kind":"http","url":"http://a/","interval":"2h"}`, "checks[0].interval"},
		{`{"id":"a","kind":"http","url":"http://a/","interval":"5s","timeout":"6s"}`, "checks[0].timeout"},
		{`{"id":"a","kind":"http","url":"http://a/","failures":0}`, "checks[0].failures"},
		{`{"id":"a","kind":"http","url":"http://a/","successes":-1}`, "checks[0].successes"},
		{`{"id":"a","kind":"http","url":"http://a/","ttl":"15s"}`, "checks[0].ttl"},
		{`{"id":"a","kind":"http","url":"http://a/","initial_status":""}`, "checks[0].initial_status"},
		{`{"id":"a","kind":"http","url":"nowhere"}`, "checks[0].url"},
		{`{"id":"a","kind":"http","url":"http://a/","interval":10}`, "checks[0].interval"},
		{`{"id":"a","kind":"http","url":"http://a/","expected_statuses":["many"]}`, "checks[0].expected_statuses[0]"},
		{`{"id":"a","kind":"http","url":"http://a/","expected_statuses":["700"]}`, "checks[0].expected_statuses[0]"},
		{`{"id":"a","kind":"http","url":"http://a/","warning_statuses":["99"]}`, "checks[0].warning_statuses[0]"},
		{`{"id":"a","kind":"ttl","ttl":"15s","warning_statuses":["429"]}`, "checks[0].warning_statuses"},
		{`{"id":"a","kind":"http","url":"http://a/","path":"/"}`, "checks[0].path"},
		{`{"id":"a","kind":"tcp","target":"a"}`, "checks[0].target"},
		{`{"id":"a","kind":"ttl","ttl":"15s"},{"id":"a","kind":"ttl","ttl":"15s"}`, "checks[1].id"},
		{`{"id":"a","kind":"ttl","ttl":"15s","remove_after":"none"}`, "checks[0].remove_after"},
		{`null`, "checks[0]"},
	} {
		s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","checks":[`+c.check+`]}`).refused(t, c.field)
	}
	for body, field := range map[string]string{
		`{"address":"a","on_lapse":"keep"}`:                        "on_lapse",
		`{"address":"a","on_lapse":""}`:                            "on_lapse",
		`{"address":"a","ttl":"none","on_lapse":"critical"}`:       "on_lapse",
		`{"address":"a","remove_after":"1m"}`:                      "remove_after",
		`{"address":"a","on_lapse":"critical","remove_after":"x"}`: "remove_after",
		`{"address":"a","ttl":"-2562047h47m16.854775808s"}`:        "ttl",
	} {
		s.send("PUT", "/v1/services/web/instances/a", body).refused(t, field)
	}
}

func TestCheckReportsComeInBatches(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","checks":[{"id":"x","kind":"ttl","ttl":"15s"},{"id":"y","kind":"ttl","ttl":"15s"}]}`).want(t, http.StatusCreated)
	var batch wire.BatchResult
	s.send("POST", "/v1/check-reports", `[{"service":"web","id":"a","check":"x"},{"service":"web","id":"a","check":"y","status":"warning","output":"slow"},
		{"service":"web","id":"a","check":"z"},{"service":"web","id":"a","check":"x"},{"service":"web","id":"a","check":"y","state":"x"},{"service":"web","id":"a","check":"y","status":"starting"}]`).want(t, http.StatusOK).json(t, &batch)
	if len(batch.Succeeded) != 2 || len(batch.Failed) != 4 {
		t.Errorf("the batch gave %+v", batch)
	}
	s.send("POST", "/v1/commands", `[{"type":"ReportCheck","service":"web","id":"a","check":"y","status":"passing"},{"type":"ReportCheck","service":"web","id":"a","check":"x","status":"critical"}]`).want(t, http.StatusOK).json(t, &batch)
	if len(batch.Succeeded) != 2 {
		t.Errorf("the batch gave %+v", batch)
	}
	for _, command := range []string{`{"type":"AddCheck","service":"web","id":"a","check":{"id":"w","kind":"ttl","ttl":"1m"}}`, `{"type":"RemoveCheck","service":"web","id":"a","check":"x"}`} {
		s.send("POST", "/v1/commands", "["+command+"]").want(t, http.StatusOK).json(t, &batch)
		if len(batch.Failed) > 0 {
			t.Errorf("%s failed: %+v", command, batch.Failed[0])
		}
	}
	s.send("POST", "/v1/commands", `[{"type":"AddCheck","service":"web","id":"a","check":{"id":"w","kind":"ttl"}}]`).want(t, http.StatusOK).json(t, &batch)
	if len(batch.Failed) != 1 || batch.Failed[0].Problem.Field != "check.ttl" {
		t.Errorf("a check without a ttl gave %+v", batch)
	}
	var i wire.Instance
	s.send("GET", "/v1/services/web/instances/a", "").want(t, http.StatusOK).json(t, &i)
	if len(i.Checks) != 2 || i.Checks[0].ID != "y" || i.Checks[0].Status != "passing" || i.Checks[1].ID != "w" {
		t.Errorf("the checks are %+v", i.Checks)
	}
}

// The port of a check may come later than the check.
func TestACheckMayNameAPortThatTheInstanceLacks(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","ports":{"http":8080},"ttl":"30s","on_lapse":"critical","remove_after":"10m",
		"checks":[{"id":"http","kind":"http","url":"http://10.0.0.5:8080/health","interval":"10s","timeout":"2s","failures":2},
		{"id":"worker","kind":"ttl","ttl":"15s"},{"id":"grpc","kind":"grpc","port":"grpc","grpc_service":"checkout.v1.Checkout"}]}`).want(t, http.StatusCreated)
}
