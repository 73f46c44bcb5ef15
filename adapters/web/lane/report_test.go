package lane_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/web/lane"
)

// Whatever the lane takes for a plain report, the HTTP server takes for the same.
func FuzzPlainReports(f *testing.F) {
	for _, seed := range []string{
		request("PUT", "/v1/agent/check/pass/service:web"), request("PUT", "/v1/agent/check/warn/a?note=", "Content-Length: 0", "X-Consul-Token: secret"),
		request("PUT", "/v1/agent/check/fail/a?note=too-hot", "Authorization: Bearer x"), request("PUT", "/v1/agent/check/pass/a/b"),
		request("PUT", "/v1/agent/check/update/a", "Content-Length: 2", "Content-Type: application/json") + "{}",
		request("PUT", "/v1/agent/check/update/pass/a?note=x", "Content-Length: 2") + "{}", request("PUT", "/v1/agent/check/pass/a?note=a;b"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		plain, ok := lane.ReadReport(raw)
		if !ok {
			return
		}
		r, body := readWhole(t, raw)
		if !bytes.Equal(body, plain.Body) || (len(body) > 0) != (plain.Kind == lane.Update) {
			t.Fatalf("%q has the body %q, not %q", raw, body, plain.Body)
		}
		status := string(plain.Status)
		if plain.Kind == lane.Update {
			status = "update"
		}
		query := r.URL.Query()
		if r.Method != "PUT" || r.URL.Path != "/v1/agent/check/"+status+"/"+string(plain.Check) || query.Get("note") != string(plain.Note) || len(query) > 1 || len(query) == 1 && !query.Has("note") {
			t.Fatalf("%q is %s of %q with the note %q", raw, status, plain.Check, plain.Note)
		}
		if strings.Contains(string(plain.Check), "/") {
			t.Fatalf("%q is of %q", raw, plain.Check)
		}
	})
}
