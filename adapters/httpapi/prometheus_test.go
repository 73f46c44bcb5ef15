package httpapi_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestInstancesAreTargetsOfPrometheus(t *testing.T) {
	s := start(t)
	s.send("PUT", "/v1/services/pay/instances/b", `{"address":"::1","ports":{"http":80,"metrics":9102}}`).want(t, 201)
	s.send("PUT", "/v1/services/pay/instances/a", `{"address":"10.0.0.5","ports":{"admin":81},"tags":["x","y"],"zone":"z1","version":"1.2","weight":7,"status":"critical",
		"metadata":{"a.b":"first","a-b":"zeroth","team":"core"}}`).want(t, 201)
	s.send("PUT", "/v1/services/pay/instances/two-ports", `{"address":"10.0.0.6","ports":{"x":1,"y":2}}`).want(t, 201)
	s.send("PUT", "/v1/services/pay/instances/no-port", `{"address":"10.0.0.7"}`).want(t, 201)
	s.send("PUT", "/v1/services/pay/instances/b?ns=abroad", `{"address":"web.example","ports":{"http":8080,"x":1}}`).want(t, 201)

	targets := func(path string) (list []wire.ScrapeTarget) {
		r := s.send("GET", path, "").want(t, 200)
		if got := r.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("the content is %q", got)
		}
		r.json(t, &list)
		return list
	}
	all := targets("/v1/sd/prometheus")
	var hosts []string
	for _, target := range all {
		hosts = append(hosts, target.Targets...)
	}
	if want := []string{"web.example:8080", "10.0.0.5:81", "[::1]:9102"}; !reflect.DeepEqual(hosts, want) {
		t.Fatalf("the targets are %v, want %v", hosts, want)
	}
	want := map[string]string{}
	for label, value := range map[string]string{
		"namespace": "default", "service": "pay", "id": "a", "address": "10.0.0.5", "port_name": "admin", "zone": "z1", "version": "1.2", "status": "critical",
		"traffic": "serving", "weight": "7", "epoch": "1", "tags": ",x,y,", "metadata_a_b": "first", "metadata_team": "core",
	} {
		want["__meta_rollcall_"+label] = value
	}
	if !reflect.DeepEqual(all[1].Labels, want) {
		t.Errorf("the labels are %v, want %v", all[1].Labels, want)
	}
	for path, n := range map[string]int{
		"?ns=default": 2, "?ns=*": 3, "?ns=nobody": 0, "?service=pay": 3, "?service=Pay": 0, "?port=metrics": 1, "?port=x": 2, "?port=none": 0,
		"?ready=true": 2, "?status=critical": 1, "?tag=x&tag=y": 1, "?zone=z1": 1, "?version=1.2": 1, "?meta.team=core": 1,
	} {
		if got := targets("/v1/sd/prometheus" + path); len(got) != n {
			t.Errorf("%s has %d targets, want %d", path, len(got), n)
		}
	}
	for path, field := range map[string]string{
		"?ns=A": "ns", "?service=": "service", "?port=": "port", "?service=a/b": "service", "?status=fine": "status", "?at=0": "at", "?wait=1s": "wait", "?max_silence=2": "max_silence",
	} {
		s.send("GET", "/v1/sd/prometheus"+path, "").problem(t, 422, "invalid-field", field)
	}
	s.notReady = errors.New("the catalog is behind")
	s.send("GET", "/v1/sd/prometheus", "").problem(t, 503, "not-ready", "")
}
