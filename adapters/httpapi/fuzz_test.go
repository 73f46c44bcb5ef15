package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
)

// fuzzed sends a request past the network and holds the reply to the promises that every reply keeps.
func fuzzed(t *testing.T, s *server, method, target, body, header string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://x/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI = path, "", query, target
	r.RemoteAddr = "127.0.0.1:1"
	r.Header["Last-Event-Id"] = []string{header}
	r.Header["If-Match"] = []string{header}
	w := httptest.NewRecorder()
	s.Config.Handler.ServeHTTP(w, r)
	if w.Code >= 500 && w.Code != http.StatusServiceUnavailable && w.Code != http.StatusGatewayTimeout && w.Code != http.StatusNotImplemented {
		t.Errorf("%s %q %q gave %d %s", method, target, body, w.Code, w.Body)
	}
	if w.Code >= 400 {
		var p struct{ Type string }
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || !strings.HasPrefix(p.Type, "urn:rollcall:problem:") {
			t.Errorf("%s %q gave %d without a problem: %s", method, target, w.Code, w.Body)
		}
	}
}

func FuzzBodies(f *testing.F) {
	s := start(f)
	for path, bodies := range map[string][]string{
		"/v1/services/web/instances/a":         {`{"address":"10.0.0.5","ports":{"http":80},"tags":["x"],"metadata":{"k":"v"},"ttl":"30s"}`, `{"address":1}`, `{`, "\xff", `{"address":"a","weight":1e99}`},
		"/v1/services/web/instances/a/health":  {`{"status":"passing","output":"x"}`},
		"/v1/services/web/instances/a/traffic": {`{"traffic":"draining"}`},
	} {
		for _, b := range bodies {
			f.Add("PUT", path, b)
		}
	}
	f.Add("POST", "/v1/commands", `[{"type":"RegisterInstance","service":"web","id":"1","address":"10.0.0.1"},{"type":"X"},7]`)
	f.Add("POST", "/v1/heartbeats", `["web/1","a/b/c","/"]`)
	f.Add("POST", "/v1/webhooks", `{"url":"https://example.com","types":["LeaseExpired"],"from":"5m ago"}`)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if method != "PUT" && method != "POST" || !strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v1/backup") {
			return
		}
		fuzzed(t, s, method, path, body, "")
	})
}

func FuzzQueries(f *testing.F) {
	s := start(f)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(f, 201)
	for _, q := range []string{
		"status=passing&tag=a&meta.k=v&ready=true", "at=5m%20ago", "at=2026-03-01T00:00:00Z", "at=1", "from=0&to=1", "from=now&type=LeaseExpired", "cursor=bgAAAAAAAAAB", "cursor=%21",
		"limit=5&order=oldest", "size=1&position=1", "ns=%00", "at=-1h%20ago", "at=9999999999999999999", "heartbeats=maybe", "reason=%ff",
	} {
		f.Add(q, "1")
	}
	f.Fuzz(func(t *testing.T, query, header string) {
		values, _ := url.ParseQuery(query) // what can be read of it
		for _, waits := range []string{"after", "follow", "wait", "index"} {
			if values.Has(waits) {
				return // it waits, as it should
			}
		}
		for _, path := range []string{
			"/v1/services", "/v1/services/checkout/instances", a1, "/v1/catalog", "/v1/diff", "/v1/history", "/v1/events", "/v1/proofs/inclusion", "/v1/proofs/consistency", "/v1/checkpoint/leaves",
		} {
			fuzzed(t, s, "GET", path+"?"+query, "", header)
		}
	})
}

// What is read without the library is what the library reads.
func FuzzPlainStrings(f *testing.F) {
	for _, seed := range []string{`["web/1","a/b/c"]`, ` [ "a" , "b" ] `, `["a\\"]`, `[]`, `["a",]`, `["a"]x`, `["\u00e9"]`, `["`, `["a","a"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		names, ok := httpapi.PlainStrings(body)
		if !ok {
			return
		}
		var want []string
		if err := json.Unmarshal(body, &want); err != nil || !slices.Equal(names, want) {
			t.Fatalf("%q is %q, the library says %q, %v", body, names, want, err)
		}
	})
}
