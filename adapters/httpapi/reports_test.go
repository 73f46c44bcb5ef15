package httpapi_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestReportsTimelinesAndHistogramsAreServed(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","version":"1","zone":"eu"}`, "Rollcall-Via", "cli").want(t, 201)
	s.send("PUT", a1+"/health", `{"status":"critical","output":"out of memory"}`).want(t, 200)
	s.send("PUT", a1+"/heartbeat", "").want(t, 200)
	s.send("DELETE", a1+"?reason=exited+with+code+3", "").want(t, 200)
	s.send("PUT", "/v1/services/cart/instances/b?ns=shop", `{"address":"::1"}`).want(t, 201)

	for path, service := range map[string]string{
		"/v1/reports/services/checkout?from=1h%20ago&below=2": "checkout", "/v1/reports/services/checkout/instances/a-1?from=1h%20ago&below=2": "checkout",
		"/v1/reports/namespaces/default?from=1h%20ago&below=2&format=json": "",
	} {
		var r wire.Report
		s.send("GET", path, "").want(t, 200).json(t, &r)
		if r.Namespace != "default" || r.Service != service || r.Events != 3 || r.Churn.Crashed != 1 || r.Churn.ExitCodes[3] != 1 || r.StatusChanges != 1 || r.Below != 2 {
			t.Errorf("%s is %+v", path, r)
		}
		if (r.Heartbeats != nil) != (r.ID != "") || r.Heartbeats != nil && r.Heartbeats.Received != 1 {
			t.Errorf("%s has heartbeats %+v", path, r.Heartbeats)
		}
	}
	table := s.send("GET", "/v1/reports/services/checkout?from=1h%20ago&format=csv", "").want(t, 200)
	if rows, err := csv.NewReader(strings.NewReader(string(table.body))).ReadAll(); err != nil || len(rows) < 40 || table.Header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("the table is %s, %v", table.body, err)
	}
	if text := s.send("GET", "/v1/reports/services/checkout?from=1h%20ago&format=markdown", "").want(t, 200); !strings.HasPrefix(string(text.body), "# Report on default/checkout\n") {
		t.Errorf("the text is %s", text.body)
	}

	for _, path := range []string{"/v1/timeline/services/checkout?from=1h%20ago", "/v1/timeline/services/checkout/instances/a-1?from=1h%20ago&to=now"} {
		var l wire.Timeline
		s.send("GET", path, "").want(t, 200).json(t, &l)
		if len(l.Lanes) != 1 || l.Lanes[0].ID != "a-1" || len(l.Lanes[0].Intervals) != 2 || l.Lanes[0].Intervals[1].Ended.Summary != "deregistered: exited with code 3" {
			t.Errorf("%s is %+v", path, l)
		}
	}

	for path, total := range map[string]int{
		"/v1/histogram?from=1h%20ago": 4, "/v1/histogram?from=1h%20ago&ns=*&buckets=7": 4, "/v1/histogram?from=1h%20ago&ns=shop": 1, "/v1/histogram?from=1h%20ago&service=checkout": 3,
		"/v1/histogram?from=1h%20ago&type=InstanceRegistered": 2, "/v1/histogram?from=1h%20ago&type=InstanceRegistered,HealthChanged&ns=default": 2,
	} {
		var h wire.Histogram
		if s.send("GET", path, "").want(t, 200).json(t, &h); h.Total != total {
			t.Errorf("%s counts %d events, want %d", path, h.Total, total)
		}
	}
}

func TestReportsRefuseWhatTheyCannotTell(t *testing.T) {
	s := start(t)
	s.send("GET", "/v1/histogram?from=1h%20ago", "").problem(t, 422, "invalid-field", "to") // no event yet
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	const service, timeline = "/v1/reports/services/checkout", "/v1/timeline/services/checkout"
	for path, field := range map[string]string{
		service: "from", service + "?from=now": "from", service + "?from=now&to=now": "from", timeline + "?from=0s%20ago&to=now": "from", "/v1/histogram?from=now&to=now": "from",
		service + "?from=now&to=1h%20ago": "from", service + "?from=2h%20ago&to=1h%20ago": "to", service + "?from=2100-01-01T00:00:00Z": "from",
		service + "?from=1h%20ago&to=2100-01-01T00:00:00Z": "to", service + "?from=x": "from", service + "?from=1h%20ago&below=0": "below", service + "?from=1h%20ago&below=1.5": "below",
		service + "?from=1h%20ago&format=xml": "format", service + "?from=1h%20ago&limit=3": "limit", service + "?from=1h%20ago&from=2h%20ago": "from",
		timeline: "from", timeline + "?from=1h%20ago&limit=0": "limit", timeline + "?from=1h%20ago&limit=10001": "limit", timeline + "?from=1h%20ago&below=1": "below",
		"/v1/histogram": "from", "/v1/histogram?from=1h%20ago&buckets=0": "buckets", "/v1/histogram?from=1h%20ago&buckets=1001": "buckets", "/v1/histogram?from=1h%20ago&type=x": "type",
		"/v1/histogram?from=1h%20ago&type=HeartbeatReceived": "type", "/v1/histogram?from=1h%20ago&ns=*&service=checkout": "ns", "/v1/histogram?from=1h%20ago&service=": "service",
		"/v1/histogram?from=1h%20ago&ns=never": "namespace", "/v1/histogram?from=1h%20ago&instance=a": "instance",
		"/v1/reports/namespaces/never?from=1h%20ago": "namespace", "/v1/reports/namespaces/No%20Label?from=1h%20ago": "namespace", "/v1/reports/namespaces/default?from=1h%20ago&ns=shop": "ns",
	} {
		t.Run(path, func(t *testing.T) { s.send("GET", path, "").problem(t, 422, "invalid-field", field) })
	}
	for path, problem := range map[string]string{
		"/v1/reports/services/never?from=1h%20ago": "unknown-service", service + "/instances/never?from=1h%20ago": "unknown-instance", service + "?from=1h%20ago&ns=shop": "unknown-service",
		"/v1/timeline/services/never?from=1h%20ago": "unknown-service", timeline + "/instances/never?from=1h%20ago": "unknown-instance", "/v1/histogram?from=1h%20ago&service=never": "unknown-service",
	} {
		s.send("GET", path, "").problem(t, 404, problem, "")
	}
}
