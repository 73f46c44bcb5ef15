package consul_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/consul"
)

// Clients that begin bodies and do not go on keep nobody from being answered.
func TestHalfSentBodiesHoldNobodyUp(t *testing.T) {
	r := start(t)
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	const registrations = 256 // as many as there are turns
	for range registrations {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\nExpect: 100-continue\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n') // the server reads the body
		if err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if got := r.says("/v1/health/service/web"); got != "web " {
		t.Errorf("a lookup says %q", got)
	}
}

// A request for which there is no turn is refused, and lookups keep no report of a check from its turn. It is told where leases may lapse
// because of it.
func TestRequestsWithoutATurnAreRefused(t *testing.T) {
	gone, leave := context.WithCancel(t.Context())
	leave() // a request waits for no turn
	for _, held := range []struct {
		ofReports      bool
		lookup, report int
		shed           bool
	}{
		{false, 503, 200, false},
		{true, 200, 503, true},
	} {
		shed := false
		r := start(t, func(c *consul.Config) { c.Shed = func() { shed = true } })
		r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Check":{"TTL":"1h"}}`)
		r.face.HoldTurns(held.ofReports)
		ask := func(method, path string, want int) int {
			client := t.Context()
			if want == http.StatusServiceUnavailable {
				client = gone
			}
			request := httptest.NewRequestWithContext(client, method, path, nil)
			request.RemoteAddr = "127.0.0.1:1"
			w := httptest.NewRecorder()
			r.face.ServeHTTP(w, request)
			return w.Code
		}
		if got := ask(http.MethodGet, "/v1/catalog/services", held.lookup); got != held.lookup {
			t.Errorf("a lookup is answered with %d, want %d", got, held.lookup)
		}
		if got := ask(http.MethodPut, "/v1/agent/check/pass/service:web", held.report); got != held.report {
			t.Errorf("a report is answered with %d, want %d", got, held.report)
		}
		if shed != held.shed {
			t.Errorf("a refused report was told: %t", shed)
		}
	}
}

// A query that waits for a service's hash counts to the blocking queries.
func TestQueriesThatWaitForAHashAreLimited(t *testing.T) {
	r := start(t)
	r.face.HoldBlocked()
	r.put("/v1/agent/service/register", `{"Name":"web","Port":80}`)
	hash := r.send("GET", "/v1/agent/service/web", "").Header.Get("X-Consul-ContentHash")
	if got := r.send("GET", fmt.Sprintf("/v1/agent/service/web?wait=1ms&hash=%s", hash), ""); got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("answered %d %s", got.StatusCode, got.body)
	}
}
