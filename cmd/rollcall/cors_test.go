package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// asPage sends a request as a browser sends it for a page of an origin.
func (p *process) asPage(method, path, origin, body string, headers ...string) *http.Response {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	reply, err := transport.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	reply.Body.Close()
	return reply
}

// A page of an origin of --cors-origin uses the running server as another program does: it asks first (a preflight), sends
// commands, renews leases, follows streams and reads errors. A page of any other origin may not.
func TestPagesOfAllowedOriginsUseTheServer(t *testing.T) {
	t.Parallel()
	const page, other, instance = "https://ui.example.com", "https://evil.example", "/v1/services/web/instances/a"
	for _, args := range [][]string{nil, {"--access", "on", "--anonymous-role", "admin"}} {
		p := startServer(t, t.TempDir(), append(args, "--cors-origin", page, "--cors-origin", "http://localhost:3000")...)
		for _, step := range []struct {
			method, path, body string
			status             int
			headers            []string
		}{
			{"OPTIONS", instance, "", 204, []string{"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type,authorization"}},
			{"PUT", instance, `{"address":"10.0.0.5","ttl":"1h"}`, 201, nil},
			{"PUT", instance + "/heartbeat", "", 200, nil},
			{"GET", "/v1/services/web/instances", "", 200, nil},
			{"GET", "/v1/streams/catalog", "", 200, nil},
			{"GET", "/v1/services/web/instances/nobody", "", 404, nil},
			{"PUT", instance, `{"address":""}`, 422, nil},
			{"GET", "/v1/nothing", "", 404, nil},
			{"DELETE", instance, "", 200, nil},
		} {
			reply := p.asPage(step.method, step.path, page, step.body, step.headers...)
			if reply.StatusCode != step.status || reply.Header.Get("Access-Control-Allow-Origin") != page || !slices.Contains(strings.Split(strings.Join(reply.Header.Values("Vary"), ","), ","), "Origin") {
				t.Errorf("%v: %s %s of the page: %d, %v", args, step.method, step.path, reply.StatusCode, reply.Header)
			}
			refused := p.asPage(step.method, step.path, other, step.body, step.headers...)
			reads := step.method == "GET" && !strings.Contains(step.path, "streams")
			if refused.Header.Get("Access-Control-Allow-Origin") != "" || !reads && refused.StatusCode != 403 && refused.StatusCode != 405 && refused.StatusCode != 401 {
				t.Errorf("%v: %s %s of another page: %d, %v", args, step.method, step.path, refused.StatusCode, refused.Header)
			}
		}
	}
	// Without a token, a page reads why it is refused, and the preflight, which has no token, is answered.
	p := startServer(t, t.TempDir(), "--access", "on", "--cors-origin", page)
	if reply := p.asPage("OPTIONS", instance, page, "", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization"); reply.StatusCode != 204 || !strings.Contains(strings.ToLower(reply.Header.Get("Access-Control-Allow-Headers")), "authorization") {
		t.Errorf("a preflight with access control: %d, %v", reply.StatusCode, reply.Header)
	}
	if reply := p.asPage("GET", "/v1/services", page, ""); reply.StatusCode != 401 || reply.Header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("a page without a token: %d, %v", reply.StatusCode, reply.Header)
	}
	for _, wrong := range []string{"*", "https://ui.example.com/", "ui.example.com"} {
		if _, errs, code := run(t, nil, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--cors-origin", wrong); code == 0 || !strings.Contains(errs, "cors-origin") {
			t.Errorf("--cors-origin %s: exit code %d: %s", wrong, code, errs)
		}
	}
}
