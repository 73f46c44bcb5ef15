package httpapi_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

// sameTwice sends a request until the lane has answered it, and compares the reply with the server's.
func (s *server) sameTwice(request string) {
	s.t.Helper()
	replies := s.twice(request)
	for i := range replies {
		for _, name := range []string{"Date", "X-Request-Id"} {
			if replies[i].Header.Get(name) == "" {
				s.t.Errorf("no %s", name)
			}
			replies[i].Header.Del(name)
		}
	}
	if a, b := replies[0], replies[1]; a.Status != b.Status || string(a.body) != string(b.body) || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) {
		s.t.Errorf("%.200q: the server answers\n%s %v %s\nthe lane\n%s %v %s", request, a.Status, a.Header, a.body, b.Status, b.Header, b.body)
	}
}

// Whatever happened to an instance, the lane gives its history in the bytes of the server.
func TestTheLaneGivesAHistoryAsTheServerDoes(t *testing.T) {
	s := start(t)
	rng := rand.New(rand.NewPCG(7, 10))
	instances := []string{a1, strings.Replace(a1, "a-1", "a-2", 1), "/v1/services/Web_x/instances/a:1;b,c@(d)"}
	for _, path := range instances {
		s.send("PUT", path, `{"address":"10.0.0.5","ttl":"1h","checks":[{"id":"db","kind":"http","url":"http://10.0.0.5/x","interval":"1h","headers":{"authorization":"secret"}}]}`).want(t, 201)
		s.send("PUT", path, `{"address":"10.0.0.5","ttl":"1h","metadata":{"note":"<b> & näher"}}`)
	}
	for n := range 90 {
		path := instances[rng.IntN(len(instances))]
		switch rng.IntN(8) {
		case 0, 1:
			s.send("PUT", path, fmt.Sprintf(`{"address":"10.0.0.%d","ports":{"http":80},"tags":["t%d"],"zone":"eu","ttl":"1h"}`, n, n%3))
		case 2:
			s.send("PUT", path+"/health", fmt.Sprintf(`{"status":%q,"output":"latency \"over\" %d ms"}`, []string{"passing", "warning", "critical"}[n%3], n))
		case 3:
			s.send("PUT", path+"/traffic", fmt.Sprintf(`{"traffic":%q,"reason":"deploy\u2028%d"}`, []string{"serving", "draining", "maintenance"}[n%3], n))
		case 4:
			s.send("DELETE", path+"?reason=moved", "")
		default:
			s.send("PUT", path+"/heartbeat", "")
		}
	}
	for _, path := range instances {
		for _, limit := range []string{"", "?limit=1", "?limit=2", "?limit=3", "?limit=10", "?limit=99", "?limit=999"} {
			s.sameTwice(request("GET", path+"/history"+limit))
		}
		s.sameTwice(request("GET", path+"/history?limit=4", "Accept-Encoding: gzip"))
		etag := s.send("GET", path+"/history?limit=5", "").want(t, 200).Header.Get("ETag")
		s.sameTwice(request("GET", path+"/history?limit=5", "If-None-Match: "+etag))
		s.sameTwice(request("GET", path+"/history?limit=5", `If-None-Match: "other"`))
	}
	s.send("PUT", a1+"?ns=shop", `{"address":"10.0.0.9"}`).want(t, 201)
	s.sameTwice(request("GET", a1+"/history?ns=shop"))
	s.sameTwice(request("GET", a1+"/history?ns=shop&limit=7"))
	// The server answers what is not plain, and what is refused.
	before := s.api.Lane().Answered()
	w := s.dial()
	ask := func(path string, status int) {
		t.Helper()
		w.say(request("GET", path))
		w.hear().want(t, status)
	}
	ask(a1, 200)
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=-1", "?limit=x", "?limit=2&colour=red", "?colour=red", "?limit=2&limit=3", "?limit=1&order=none", "?limit=", "?limit=02"} {
		ask(a1+"/history"+query, 422)
	}
	for _, query := range []string{"?limit=1000", "?limit=2&order=oldest", "?ns=default&limit=1000", "?"} {
		ask(a1+"/history"+query, 200)
	}
	ask(strings.Replace(a1, "a-1", "nobody", 1)+"/history?limit=2", 404)
	ask("/v1/services/_/instances/a/history?limit=2", 422)
	if n := s.api.Lane().Answered(); n != before {
		t.Errorf("the lane answered %d of these", n-before)
	}
}

// A caller without the right to the history of a service is refused by the server, and one that may not write an instance sees no
// secret of the instance in the lane either.
func TestTheLaneGivesAHistoryAsItsCallerMaySeeIt(t *testing.T) {
	g := startGuarded(t)
	operator := g.token("operator", domain.TokenSpec{Roles: []string{"operator"}})
	g.send("PUT", a1, `{"address":"10.0.0.5","checks":[{"id":"db","kind":"http","url":"http://10.0.0.5/x","interval":"1h","headers":{"authorization":"hidden"}}]}`, operator...).want(t, 201)
	reader := g.token("auditor", domain.TokenSpec{Roles: []string{"auditor"}})
	g.send("GET", a1+"/history", "", g.token("looker", domain.TokenSpec{Roles: []string{"reader"}})...).want(t, 403)
	for _, sees := range []bool{true, false} {
		token := reader
		if sees {
			token = operator
		}
		replies := g.twice(request("GET", a1+"/history?limit=10", strings.Join(token, ": ")))
		for _, r := range replies {
			if r.want(t, 200); strings.Contains(string(r.body), "hidden") != sees {
				t.Errorf("sees the secret %t:\n%s", !sees, r.body)
			}
		}
		if string(replies[0].body) != string(replies[1].body) {
			t.Errorf("the server answers\n%s\nthe lane\n%s", replies[0].body, replies[1].body)
		}
	}
}

// The lane answers pages of an instance's newest entries while scans have all their turns.
func TestTheLaneGivesAHistoryBesideScans(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5","ttl":"1h"}`).want(t, 201)
	s.sameTwice(request("GET", a1+"/history?limit=10"))
	s.api.HoldScans()
	before := s.api.Lane().Answered()
	w := s.dial()
	w.say(request("GET", a1)) // the server reads the first request of a connection
	w.hear().want(t, 200)
	for _, limit := range []string{"", "?limit=1", "?limit=100"} {
		w.say(request("GET", a1+"/history"+limit))
		w.hear().want(t, 200)
	}
	if n := s.api.Lane().Answered() - before; n != 3 {
		t.Errorf("the lane answered %d of 3 pages", n)
	}
}
