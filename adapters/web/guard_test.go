package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

func TestALoopbackServerAnswersToItsOwnHosts(t *testing.T) {
	hosts := web.NewHosts("127.0.0.1:7700", []string{"Registry.example", "10.1.2.3", "[fd00::1]"})
	for host, want := range map[string]bool{
		"localhost": true, "localhost:7700": true, "LOCALHOST:1": true, "localhost.": true,
		"127.0.0.1": true, "127.0.0.1:7700": true, "127.9.9.9:80": true, "[::1]": true, "[::1]:7700": true, "::1": false,
		"registry.example": true, "registry.example:8443": true, "registry.EXAMPLE.": true, "10.1.2.3:7700": true, "[fd00::1]:7700": true,
		"[::ffff:127.0.0.1]:7700": true,
		"":                        false, ":7700": false, "evil.example": false, "evil.example:7700": false, "localhost.evil.example": false,
		"127.0.0.1.evil.example": false, "xlocalhost": false, "10.1.2.4": false, "0.0.0.0:7700": false, "127.1": false, "2130706433": false,
		"localhost:7700:1": false, "[::1": false, "[evil.example]": false, "a@localhost": false, " localhost": false,
	} {
		if got := hosts.Allow(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

func TestOnlyALoopbackServerLooksAtHosts(t *testing.T) {
	for listen, looks := range map[string]bool{
		"127.0.0.1:0": true, "localhost:7700": true, "[::1]:7700": true, "127.3.2.1:80": true,
		"0.0.0.0:7700": false, ":7700": false, "[::]:7700": false, "192.0.2.7:7700": false, "registry.example:7700": false,
	} {
		if got := !web.NewHosts(listen, nil).Allow("evil.example"); got != looks {
			t.Errorf("listening on %s: evil.example refused is %v, want %v", listen, got, looks)
		}
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) { _ = c.NoContent(web.ProblemOf(err).Status) }
	e.Use(web.Guard(web.NewHosts("127.0.0.1:7700", nil), "/lines"))
	ok := func(c echo.Context) error { return c.NoContent(http.StatusOK) }
	e.Any("/", ok)
	e.POST("/lines", ok)
	e.GET("/stream", ok, web.OwnSite)
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"no browser", "POST", "/", "{}", nil, 200},
		{"our own page", "POST", "/", "{}", []string{"Origin: http://localhost:7700", "Sec-Fetch-Site: same-origin"}, 200},
		{"our own page, an old browser", "POST", "/", "{}", []string{"Origin: http://localhost:7700"}, 200},
		{"the address bar", "POST", "/", "{}", []string{"Sec-Fetch-Site: none"}, 200},
		{"another site", "POST", "/", "{}", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"another port", "POST", "/", "{}", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"another port, an old browser", "POST", "/", "{}", []string{"Origin: http://localhost:3000"}, 403},
		{"another origin", "DELETE", "/", "", []string{"Origin: https://evil.example"}, 403},
		{"no origin at all", "PUT", "/", "", []string{"Origin: null"}, 403},
		{"another site looks", "GET", "/", "", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 200},
		{"another site looks at headers", "HEAD", "/", "", []string{"Sec-Fetch-Site: cross-site"}, 200},
		{"another site asks for options", "OPTIONS", "/", "", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"another site follows", "GET", "/stream", "", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"another origin follows", "GET", "/stream", "", []string{"Origin: https://evil.example"}, 403},
		{"no browser follows", "GET", "/stream", "", nil, 200},
		{"JSON", "POST", "/", "{}", []string{"Content-Type: application/json"}, 200},
		{"JSON with a charset", "POST", "/", "{}", []string{"Content-Type: Application/JSON; charset=utf-8"}, 200},
		{"JSON in another charset", "POST", "/", "{}", []string{"Content-Type: application/json; charset=latin1"}, 415},
		{"JSON of a kind", "POST", "/", "{}", []string{"Content-Type: application/cloudevents+json"}, 200},
		{"compressed", "POST", "/", "{}", []string{"Content-Encoding: gzip"}, 415},
		{"said to be of another coding", "POST", "/", "{}", []string{"Content-Encoding: identity", "Content-Encoding: br"}, 415},
		{"said not to be coded", "POST", "/", "{}", []string{"Content-Encoding: Identity"}, 200},
		{"a form", "POST", "/", "{}", []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"a form of parts", "POST", "/", "{}", []string{"Content-Type: multipart/form-data; boundary=x"}, 415},
		{"text", "POST", "/", "{}", []string{"Content-Type: text/plain"}, 415},
		{"text that names JSON", "POST", "/", "{}", []string{"Content-Type: text/plain; application/json"}, 415},
		{"an empty type", "POST", "/", "{}", []string{"Content-Type: "}, 415},
		{"two types", "POST", "/", "{}", []string{"Content-Type: application/json", "Content-Type: text/plain"}, 415},
		{"an empty form", "POST", "/", "", []string{"Content-Type: application/x-www-form-urlencoded"}, 200},
		{"lines where they are taken", "POST", "/lines", "{}", []string{"Content-Type: application/x-ndjson"}, 200},
		{"lines elsewhere", "POST", "/", "{}", []string{"Content-Type: application/x-ndjson"}, 415},
		{"another host", "GET", "/", "", []string{"Host: evil.example"}, 421},
		{"another host commands", "POST", "/", "{}", []string{"Host: evil.example:7700"}, 421},
		{"nothing there, another host", "GET", "/nothing", "", []string{"Host: evil.example"}, 421},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
			r.Host = "localhost:7700"
			for _, h := range test.header {
				if name, value, _ := strings.Cut(h, ": "); name == "Host" {
					r.Host = value
				} else {
					r.Header.Add(name, value)
				}
			}
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("answered %d, want %d", w.Code, test.status)
			}
		})
	}
}
