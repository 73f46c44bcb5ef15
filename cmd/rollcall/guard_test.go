package main

import (
	"net/http"
	"strings"
	"testing"
)

// What a page in a browser on the server's machine could have sent.
func TestALoopbackServerIsGuardedFromBrowsers(t *testing.T) {
	p := startServer(t, t.TempDir(), "--allow-host", "registry.example")
	const instance = "/v1/services/web/instances/a"
	for _, r := range []struct {
		method, path, body, host string
		header                   map[string]string
		status                   int
	}{
		{"PUT", instance, `{"address":"10.0.0.5"}`, "", map[string]string{"Content-Type": "application/json"}, 201},
		{"PUT", instance, `{"address":"10.0.0.5"}`, "registry.example", nil, 200},
		{"PUT", instance, `{"address":"10.0.0.6"}`, "", map[string]string{"Content-Type": "text/plain"}, 415},
		{"PUT", instance, `{"address":"10.0.0.6"}`, "", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		{"DELETE", instance, "", "", map[string]string{"Origin": "https://evil.example"}, 403},
		{"DELETE", instance, "", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"GET", "/v1/streams/catalog", "", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"DELETE", instance, "", "evil.example", nil, 421},
		{"PUT", instance + "/heartbeat", "", "", nil, 200},
		{"PUT", instance + "/heartbeat", "", "evil.example", nil, 421},
		{"GET", "/v1/services/web/instances", "", "", nil, 200},
		{"GET", "/v1/services/web/instances", "", "evil.example:7700", nil, 421},
		{"GET", "/v1/services/web/instances", "", "localhost", nil, 200},
		{"GET", "/healthz", "", "evil.example", nil, 421},
	} {
		q, err := http.NewRequest(r.method, p.url+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		q.Host = r.host // "": that of the URL
		for name, value := range r.header {
			q.Header.Set(name, value)
		}
		resp, err := transport.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != r.status {
			t.Errorf("%s %s to %q with %v: %d, want %d", r.method, r.path, r.host, r.header, resp.StatusCode, r.status)
		}
	}
}
