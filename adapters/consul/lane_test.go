package consul_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// What differs between two registries that were told the same.
var (
	requestID = regexp.MustCompile(`X-Request-Id: [^\r]*`)
	date      = regexp.MustCompile(`Date: [^\r]*`)
)

// say sends bytes on a connection of its own, and gives all that the server sends for so many requests.
func say(t *testing.T, address string, replies int, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	var all strings.Builder
	answers := bufio.NewReader(io.TeeReader(conn, &all))
	for n := range replies + 1 {
		switch n {
		case 0: // the first request of a connection is the server's
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		case 1:
			all.Reset()
			_, err = io.WriteString(conn, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	return date.ReplaceAllString(requestID.ReplaceAllString(all.String(), "X-Request-Id: x"), "Date: now")
}

func report(path, body string, headers ...string) string {
	raw := "PUT " + path + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n"
	for i := 0; i < len(headers); i += 2 {
		raw += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	return raw + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// Whether the lane or the server answers a report, its reply and what it changes are the same.
func TestTheLaneAnswersReportsAsTheServerDoes(t *testing.T) {
	laned, plain := start(t), start(t)
	server := httptest.NewServer(plain.face)
	t.Cleanup(server.Close)
	for _, r := range []*rig{laned, plain} {
		r.put("/v1/agent/service/register", `{"Name":"web","Port":80,"Checks":[{"CheckID":"a","TTL":"1h"},{"CheckID":"b/c","TTL":"1h"},{"CheckID":"tcp","TCP":"127.0.0.1:1","Interval":"1h"}]}`)
		for _, id := range []string{"a", "b%2Fc"} { // the server finds a check, and the lane does from then on
			r.put("/v1/agent/check/pass/"+id, "")
		}
	}
	for _, c := range []struct {
		raw  string
		lane int64 // reports that the lane answers
	}{
		{report("/v1/agent/check/pass/a", ""), 1},
		{report("/v1/agent/check/pass/a?note=", ""), 1},
		{report("/v1/agent/check/warn/a?note=hot", ""), 1},
		{report("/v1/agent/check/fail/a?note=too-hot", ""), 1},
		{report("/v1/agent/check/update/a", `{"Status":"passing","Output":"ok \"so\""}`+"\n"), 1},
		{report("/v1/agent/check/update/a", `{"status":"warning","output":"`+strings.Repeat("x", 3000)+`"}`), 1},
		{report("/v1/agent/check/pass/a", "", "X-Consul-Token", "any"), 1},
		{report("/v1/agent/check/pass/a", "", "Authorization", "Basic YTpi"), 1},
		{report("/v1/agent/check/pass/a", "") + report("/v1/agent/check/pass/a", ""), 0},
		{report("/v1/agent/check/pass/a?note=%41b", ""), 0},
		{report("/v1/agent/check/pass/a?note=a+b", ""), 0},
		{report("/v1/agent/check/pass/a?note=a;b", ""), 0},
		{report("/v1/agent/check/pass/a?token=x", ""), 0},
		{report("/v1/agent/check/pass/a?ns=other", ""), 0},
		{report("/v1/agent/check/pass/b%2Fc", ""), 0},
		{report("/v1/agent/check/pass/b/c", ""), 0},
		{report("/v1/agent/check/pass/a/", ""), 0},
		{report("/v1/agent/check/pass/", ""), 0},
		{report("/v1/agent/check/pass/other", ""), 0},
		{report("/v1/agent/check/pass/tcp", ""), 0},
		{report("/v1/agent/check/pass/a", "x"), 0},
		{report("/v1/agent/check/update/a", ""), 0},
		{report("/v1/agent/check/update/a", "{"), 0},
		{report("/v1/agent/check/update/a", `{"Status":"fine"}`), 0},
		{report("/v1/agent/check/update/a?note=x", `{"Status":"passing"}`), 0},
		{report("/v1/agent/check/pass/a", "", "Origin", "http://elsewhere"), 0},
		{report("/v1/agent/check/pass/a", "", "X-Consul-Namespace", "other"), 0},
		{strings.Replace(report("/v1/agent/check/pass/a", ""), "PUT", "POST", 1), 0},
	} {
		replies := strings.Count(c.raw, "HTTP/1.1")
		before := laned.face.Lane().Answered()
		got, want := say(t, laned.Listener.Addr().String(), replies, c.raw), say(t, server.Listener.Addr().String(), replies, c.raw)
		if got != want {
			t.Errorf("%q\nthe lane:   %q\nthe server: %q", c.raw, got, want)
		}
		if by := laned.face.Lane().Answered() - before; by != c.lane {
			t.Errorf("%q: the lane answered %d", c.raw, by)
		}
		if got, want := laned.outputs("web"), plain.outputs("web"); got != want {
			t.Errorf("after %q: %s, want %s", c.raw, got, want)
		}
	}
	for _, r := range []*rig{laned, plain} {
		r.put("/v1/agent/service/deregister/web", "")
	}
	got, want := say(t, laned.Listener.Addr().String(), 1, report("/v1/agent/check/pass/a", "")), say(t, server.Listener.Addr().String(), 1, report("/v1/agent/check/pass/a", ""))
	if got != want || !strings.Contains(got, "404") {
		t.Errorf("of a check that is gone:\nthe lane:   %q\nthe server: %q", got, want)
	}
}

// outputs are the checks of a service with their statuses and outputs.
func (r *rig) outputs(service string) string {
	r.t.Helper()
	var entries []entry
	r.get("/v1/health/service/"+service, &entries)
	var b strings.Builder
	for _, e := range entries {
		for _, c := range e.Checks {
			fmt.Fprintf(&b, "%s=%s %q; ", c.CheckID, c.Status, c.Output)
		}
	}
	return b.String()
}

func TestTheLaneReportsForThoseWhoMay(t *testing.T) {
	r, root, pay := startGuarded(t)
	own := r.token("own", domain.TokenSpec{Roles: []string{"service"}})
	for _, check := range []string{"pay-in-check", "hidden-check"} {
		if got := r.send("PUT", "/v1/agent/check/pass/"+check, "", root...); got.StatusCode != 200 {
			t.Fatal(got.StatusCode, got.body)
		}
	}
	for _, c := range []struct {
		who    []string
		check  string
		status string
		lane   int64
	}{
		{root, "hidden-check", "200", 1},
		{[]string{"Authorization", "Bearer " + root[1]}, "hidden-check", "200", 1},
		{[]string{"Authorization", "Bearer wrong", "X-Consul-Token", root[1]}, "hidden-check", "200", 1},
		{[]string{"Authorization", "Bearer " + root[1], "X-Consul-Token", "wrong"}, "hidden-check", "403", 0},
		{[]string{"Authorization", "Bearer " + root[1], "X-Consul-Token", ""}, "hidden-check", "200", 1},
		{nil, "hidden-check", "404", 0},
		{pay, "hidden-check", "404", 0},
		{own, "pay-in-check", "403", -1}, // another's instance
	} {
		before := r.face.Lane().Answered()
		got := say(t, r.Listener.Addr().String(), 1, report("/v1/agent/check/pass/"+c.check, "", c.who...))
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
			t.Errorf("%q: %q, want %s", c.who, got, c.status)
		}
		if by := r.face.Lane().Answered() - before; by != c.lane && c.lane >= 0 {
			t.Errorf("%q: the lane answered %d", c.who, by)
		}
	}
}
