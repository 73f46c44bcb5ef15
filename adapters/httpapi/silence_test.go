package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// The silent are left out where that is asked for, and only there.
func TestInstancesThatAreSilentForLongAreLeftOutIfAsked(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/web/instances/quiet", `{"address":"10.0.0.5","ttl":"1s"}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/patient", `{"address":"10.0.0.6","ttl":"1h"}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/drained", `{"address":"10.0.0.7","ttl":"1h"}`).want(t, 201)
	s.send("PUT", "/v1/services/web/instances/drained/traffic", `{"traffic":"draining"}`).want(t, 200)
	const path = "/v1/services/web/instances"
	ids := func(r reply) string {
		t.Helper()
		var list wire.InstanceList
		r.want(t, 200).json(t, &list)
		var ids []string
		for _, i := range list.Instances {
			ids = append(ids, i.ID)
		}
		return strings.Join(ids, " ")
	}
	soon := s.send("GET", path+"?max_silence=1000", "")
	if got := ids(soon); got != "drained patient quiet" {
		t.Fatalf("within 1000 ttls there are %s", got)
	}
	time.Sleep(1100 * time.Millisecond)
	// The same content has the same tag, and content that time changed another, though nothing was recorded.
	s.send("GET", path+"?max_silence=1000", "", "If-None-Match", soon.Header.Get("ETag")).want(t, 304)
	later := s.send("GET", path+"?max_silence=1", "", "If-None-Match", soon.Header.Get("ETag"))
	if got := ids(later); got != "drained patient" || later.Header.Get("Rollcall-Position") != soon.Header.Get("Rollcall-Position") {
		t.Errorf("within a ttl there are %s", got)
	}
	for query, want := range map[string]string{
		"ready=true&max_silence=1":             "patient",
		"ready=true&max_silence=1.0&leases=1":  "patient",
		"ready=true":                           "patient quiet",
		"":                                     "drained patient quiet",
		"max_silence=1&status=critical":        "",
		"max_silence=1000&ready=true":          "patient quiet",
		"ready=true&max_silence=1&ns=default":  "patient",
		"after=1&ready=true&max_silence=1e300": "patient quiet",
	} {
		if got := ids(s.send("GET", path+"?"+query, "")); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
	s.send("PUT", path+"/quiet/heartbeat", "").want(t, 200)
	if got := ids(s.send("GET", path+"?max_silence=1&after="+s.send("PUT", path+"/quiet/heartbeat", "").Header.Get("Rollcall-Position"), "")); got != "drained patient quiet" {
		t.Errorf("after a heartbeat there are %s", got)
	}
}

// What changes with time goes with nothing that waits for changes, or that tells of the past.
func TestMaxSilenceIsRefusedWhereItMakesNoSense(t *testing.T) {
	s := start(t)
	const path = "/v1/services/web/instances?max_silence="
	for _, bad := range []string{"", "0", "0.99", "-3", "NaN", "Inf", "1e999", "many", "3,4"} {
		s.send("GET", path+bad, "").problem(t, 422, "invalid-field", "max_silence")
	}
	for _, with := range []string{"at=now", "at=1", "index=1", "wait=1s", "index=1&wait=1s"} {
		refused := s.send("GET", path+"3&"+with, "")
		refused.problem(t, 422, "invalid-field", "max_silence")
		if name, _, _ := strings.Cut(with, "="); !strings.Contains(string(refused.body), "must not be used with "+name) {
			t.Errorf("%s: %s", with, refused.body)
		}
	}
	for _, stream := range []string{"/v1/streams/services/web?max_silence=3", "/v1/streams/catalog?max_silence=3"} {
		refused := s.send("GET", stream, "")
		refused.problem(t, 422, "invalid-field", "max_silence")
		if !strings.Contains(string(refused.body), "must not be used with a stream") {
			t.Errorf("%s: %s", stream, refused.body)
		}
	}
	s.send("GET", "/v1/services?max_silence=3", "").problem(t, 422, "invalid-field", "max_silence")
	s.send("GET", path+"3&max_silence=4", "").problem(t, 422, "invalid-field", "max_silence")
}
