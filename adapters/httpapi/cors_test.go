package httpapi_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/docs/api"
)

const uiOrigin = "https://ui.example.com:8443"

// sent is a request of a browser.
func (s *server) sent(t *testing.T, method, path, host, origin, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	return reply
}

func TestPagesOfAllowedOriginsOnlyMayUseTheAPI(t *testing.T) {
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Origins = web.Origins{uiOrigin, "http://localhost:3000"}
		c.Hosts = web.NewHosts("127.0.0.1:0", nil)
	})
	const register, lookup = `{"address":"10.0.0.5"}`, "/v1/services/checkout/instances"
	for _, step := range []struct {
		name, method, path, host, origin, body string
		status                                 int
		allowed                                string
	}{
		{"a command of an allowed page", "PUT", a1, "", uiOrigin, register, 201, uiOrigin},
		{"a lookup of an allowed page", "GET", lookup, "", "http://localhost:3000", "", 200, "http://localhost:3000"},
		{"a heartbeat of an allowed page", "PUT", a1 + "/heartbeat", "", uiOrigin, "", 200, uiOrigin},
		{"a client that is no browser", "PUT", a1, "", "", register, 200, ""},
		{"a command of another page", "PUT", a1, "", "https://evil.example", register, 403, ""},
		{"a heartbeat of another page", "PUT", a1 + "/heartbeat", "", "https://evil.example", "", 403, ""},
		{"a command of another port", "PUT", a1, "", "https://ui.example.com", register, 403, ""},
		{"a command of another scheme", "PUT", a1, "", "http://ui.example.com:8443", register, 403, ""},
		{"a command of a name that begins alike", "PUT", a1, "", uiOrigin + ".evil.example", register, 403, ""},
		{"a command of a page without an origin", "PUT", a1, "", "null", register, 403, ""},
		{"a lookup of another page", "GET", lookup, "", "https://evil.example", "", 200, ""},
		{"an allowed page under another host", "PUT", a1, "evil.example", uiOrigin, register, 421, ""},
	} {
		reply := s.sent(t, step.method, step.path, step.host, step.origin, step.body)
		if reply.StatusCode != step.status || reply.Header.Get("Access-Control-Allow-Origin") != step.allowed {
			t.Errorf("%s: %d, allowed %q; want %d, %q", step.name, reply.StatusCode, reply.Header.Get("Access-Control-Allow-Origin"), step.status, step.allowed)
		}
		if got := reply.Header.Get("Access-Control-Expose-Headers"); strings.Contains(got, "Rollcall-Position") != (step.allowed != "") {
			t.Errorf("%s: the page may read %q", step.name, got)
		}
		if reply.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: the browser may send credentials", step.name)
		}
	}
	if reply := s.sent(t, "PUT", a1, "", uiOrigin, register, "Content-Type", "text/plain"); reply.StatusCode != 415 {
		t.Errorf("a form of an allowed page: %d, want 415", reply.StatusCode)
	}
}

func TestPreflightsAreAnsweredForAllowedOriginsOnly(t *testing.T) {
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Origins = web.Origins{uiOrigin}
		c.Hosts = web.NewHosts("127.0.0.1:0", nil)
	})
	ask := []string{"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type"}
	reply := s.sent(t, "OPTIONS", a1, "", uiOrigin, "", ask...)
	if reply.StatusCode != 204 || reply.Header.Get("Access-Control-Allow-Origin") != uiOrigin || !strings.Contains(reply.Header.Get("Access-Control-Allow-Methods"), "PUT") ||
		!strings.Contains(reply.Header.Get("Access-Control-Allow-Headers"), "Content-Type") || !strings.Contains(strings.Join(reply.Header["Vary"], ","), "Origin") {
		t.Errorf("the preflight is answered with %d, %v", reply.StatusCode, reply.Header)
	}
	for name, reply := range map[string]*http.Response{
		"another origin": s.sent(t, "OPTIONS", a1, "", "https://evil.example", "", ask...),
		"another host":   s.sent(t, "OPTIONS", a1, "evil.example", uiOrigin, "", ask...),
	} {
		if reply.StatusCode < 400 || reply.Header.Get("Access-Control-Allow-Methods") != "" || reply.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("a preflight of %s is answered with %d, %v", name, reply.StatusCode, reply.Header)
		}
	}
}

func TestNoOriginIsAllowedByDefault(t *testing.T) {
	s := start(t)
	reply := s.sent(t, "GET", "/v1/services", "", uiOrigin, "")
	if reply.Header.Get("Access-Control-Allow-Origin") != "" || reply.StatusCode != 200 {
		t.Errorf("a lookup of a page: %d, %v", reply.StatusCode, reply.Header)
	}
	if reply := s.sent(t, "PUT", a1, "", uiOrigin, `{"address":"10.0.0.5"}`); reply.StatusCode != 403 {
		t.Errorf("a command of a page: %d, want 403", reply.StatusCode)
	}
}

func TestOriginsAreExact(t *testing.T) {
	got, err := web.ParseOrigins([]string{"https://UI.example.com", "http://localhost:3000", "http://[::1]:8080"})
	if err != nil || strings.Join(got, " ") != "https://ui.example.com http://localhost:3000 http://[::1]:8080" {
		t.Errorf("read %v, %v", got, err)
	}
	for _, wrong := range []string{"", "*", "null", "ui.example.com", "https://", "https://*.example.com", "https://ui.example.com/", "https://ui.example.com/path", "https://user@ui.example.com", "ftp://ui.example.com", "https://ui.example.com?x=1", "https://ui.example.com:443", "http://ui.example.com:80"} {
		if got, err := web.ParseOrigins([]string{wrong}); err == nil {
			t.Errorf("%q is read as %v", wrong, got)
		}
	}
}

// The lane's replies vary by origin as the server's do: a cache that has the reply to a client without an origin must not give it to a page.
func TestTheLaneVariesByOriginAsTheServerDoes(t *testing.T) {
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) { c.Origins = web.Origins{uiOrigin} })
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	const long = "/v1/services/many/instances"
	text := strings.Repeat("x", 4000)
	s.send("PUT", long+"/b-1", `{"address":"10.0.0.5","metadata":{"a":"`+text+`","b":"`+text+`","c":"`+text+`"}}`).want(t, 201)
	for path, want := range map[string]string{lookup: "[Origin]", long: "[Origin Accept-Encoding]"} {
		for i, r := range s.twice(request("GET", path)) {
			if got := fmt.Sprint(r.Header["Vary"]); got != want {
				t.Errorf("reply %d to %s varies by %s, not %s", i, path, got, want)
			}
		}
	}
}

// A page may read every header of replies that the description names.
func TestPagesOfAllowedOriginsMayReadWhatIsDescribed(t *testing.T) {
	s := startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) { c.Origins = web.Origins{uiOrigin} })
	readable := strings.Split(s.sent(t, "GET", lookup, "", uiOrigin, "").Header.Get("Access-Control-Expose-Headers"), ", ")
	described := regexp.MustCompile(`([A-Z][A-Za-z-]+): \{ \$ref: "#/components/headers/`).FindAllStringSubmatch(string(api.OpenAPI), -1)
	if len(described) == 0 {
		t.Fatal("the description names no headers")
	}
	for _, header := range described {
		if !slices.Contains(readable, header[1]) {
			t.Errorf("pages may not read %s", header[1])
		}
	}
}
