package consul_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/consul"
	faces "github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// What clients send in other forms than usual is understood.
func TestUnusualFormsOfRequestsAreUnderstood(t *testing.T) {
	r := start(t)
	r.put("//v1/agent/service/register", `{"ID":"a//b","Name":"web","Port":80,"Check":{"args":["ignored"],"ScriptArgs":[],"TTL":"1m","Status":"passing"}}`)
	for _, path := range []string{"/v1/health/service/web", "//v1/health/service/web", "///v1/health/service/web"} {
		if got := r.says(path); got != "a//b service:a//b=passing" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if reply := r.send("GET", "/v1/agent/service/a//b", ""); reply.StatusCode != 200 {
		t.Errorf("an id with two slashes: %d", reply.StatusCode)
	}
	for path, want := range map[string]string{
		"/v1/kv/a": "OPTIONS,GET,PUT,DELETE", "/v1/agent/service/register": "OPTIONS,PUT", "/v1/catalog/nodes": "OPTIONS,GET",
	} {
		if reply := r.send("OPTIONS", path, ""); reply.StatusCode != 200 || reply.Header.Get("Allow") != want {
			t.Errorf("OPTIONS %s: %d, Allow: %s", path, reply.StatusCode, reply.Header.Get("Allow"))
		}
	}
	for range 20 {
		r.put("/v1/agent/service/register", fmt.Sprintf(`{"ID":"n%d","Name":"many","Port":80}`, len(r.says("/v1/health/service/many"))))
	}
	if reply := r.send("GET", "/v1/health/service/many", "", "Accept-Encoding", "gzip;q=0, identity"); reply.Header.Get("Content-Encoding") != "" {
		t.Error("a client that takes no gzip gets it")
	}
}

// The user and the password of a URL become a header, for the domain keeps credentials nowhere else. Nobody sees them.
func TestCredentialsOfACheckMoveToAHeader(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Checks":[
		{"CheckID":"url","HTTP":"http://user:p%40ss@127.0.0.1:9/health?full=1","Interval":"1m"},
		{"CheckID":"both","HTTP":"http://user:pass@127.0.0.1:9/","Header":{"authorization":["Bearer t"],"Empty":[]},"Interval":"1m"}]}`)
	want := map[string]string{"url": "map[Authorization:Basic dXNlcjpwQHNz]", "both": "map[authorization:Bearer t]"}
	entry := r.live.Catalog().Find(domain.Key{Namespace: "default", Service: "web", ID: "web"})
	for _, c := range entry.Details().Checks {
		if got := fmt.Sprint(c.Headers); got != want[c.ID] || strings.Contains(c.URL, "@") {
			t.Errorf("%s: %s %s", c.ID, c.URL, got)
		}
	}
	if reply := r.send("GET", "/v1/health/checks/web", ""); strings.Contains(reply.body, "dXNlcjpw") || strings.Contains(reply.body, "p%40ss") || !strings.Contains(reply.body, "http://127.0.0.1:9/health") {
		t.Errorf("clients see %s", reply.body)
	}
}

// A load balancer's check over HTTP/1.0 names no host. A name that is not the server's is refused all the same.
func TestARequestWithoutAHostIsAnswered(t *testing.T) {
	r := start(t, func(c *consul.Config) { c.Hosts = faces.NewHosts("127.0.0.1:8500", nil) })
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	for request, want := range map[string]string{
		"GET /v1/agent/health/service/id/web?format=text HTTP/1.0\r\n\r\n":                       "HTTP/1.0 200",
		"GET /v1/agent/health/service/id/web?format=text HTTP/1.0\r\nHost: evil.example\r\n\r\n": "HTTP/1.0 421",
	} {
		conn, err := net.Dial("tcp", r.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if reply, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(reply), want) {
			t.Errorf("%q: %q, %v", request, reply, err)
		}
	}
}

// One registration keeps no client from the list of its service: what is nested deeper than clients read, or is no number of theirs, is refused.
func TestWhatClientsCannotReadIsRefused(t *testing.T) {
	r := start(t)
	nested := func(n int) string {
		return `{"Config":{"text":"[[\"[[","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	for _, c := range []struct {
		proxy  string
		status int
	}{
		{nested(98), 200},
		{nested(99), 400},
		{nested(3000), 400},
		{`{"LocalServicePort":2147483648}`, 400},
		{`{"Upstreams":[{"LocalBindPort":2147483647}]}`, 200},
	} {
		if reply := r.send("PUT", "/v1/agent/service/register", `{"Name":"web","Proxy":`+c.proxy+`}`); reply.StatusCode != c.status {
			t.Errorf("%.120s: %d %s", c.proxy, reply.StatusCode, reply.body)
		}
	}
}
