package httpapi_test

import (
	"bufio"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
)

// limited is a registry with limits and a clock for them that stands still. Its callers come from the addresses that they
// claim.
type limited struct {
	guarded
	now     atomic.Int64 // in seconds
	refused [3]atomic.Int64
}

// anonymousOperators lets callers without a token operate.
type anonymousOperators struct{ web.Vouched }

func (anonymousOperators) Anonymous() []domain.TokenSpec {
	return []domain.TokenSpec{{Roles: []string{"operator"}}}
}
func (anonymousOperators) Workload(*x509.Certificate) *web.Caller { return nil }
func (anonymousOperators) Version() uint64                        { return 0 }

func startLimited(t testing.TB, perSecond map[web.Limit]float64, more ...func(*httpapi.Config)) *limited {
	t.Helper()
	l := &limited{}
	l.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Access = &web.Access{Tokens: c.Tokens, Now: time.Now, Vouched: anonymousOperators{}}
		l.commands = c.AccessCommands
		c.Proxies = trust(t, "127.0.0.1/32")
		c.Limits = web.NewLimits(perSecond, func(limit web.Limit) { l.refused[limit].Add(1) }, func() time.Time { return time.Unix(l.now.Load(), 0) })
		for _, m := range more {
			m(c)
		}
	})
	return l
}

// passes is how many of n requests are not refused because of a limit.
func (l *limited) passes(n int, method, path, body string, header ...string) (passed int, last reply) {
	l.t.Helper()
	for range n {
		if last = l.send(method, path, body, header...); last.StatusCode != http.StatusTooManyRequests {
			passed++
		}
	}
	return passed, last
}

func from(address string) []string { return []string{"X-Forwarded-For", address} }

func TestACallerWhoSendsTooMuchIsToldWhenToComeBack(t *testing.T) {
	l := startLimited(t, map[web.Limit]float64{web.Requests: 0.25, web.Heartbeats: 5})
	register := `{"address":"10.0.0.1"}`
	if n, _ := l.passes(1, "PUT", a1, register, from("192.0.2.7")...); n != 1 {
		t.Fatal("the first request is refused")
	}
	n, last := l.passes(3, "GET", lookup, "", from("192.0.2.7")...)
	if n != 0 || last.Header.Get("Retry-After") != "4" {
		t.Errorf("%d requests pass; come back in %s s", n, last.Header.Get("Retry-After"))
	}
	last.problem(t, 429, "too-many-requests", "")
	if n := l.refused[web.Requests].Load(); n != 3 {
		t.Errorf("%d refusals are counted", n)
	}
	if n, _ := l.passes(1, "GET", lookup, "", from("192.0.2.8")...); n != 1 {
		t.Error("another address is refused, too")
	}
	// Heartbeats of known instances have a limit of their own.
	if n, _ := l.passes(14, "PUT", beatA1, "", from("192.0.2.7")...); n != 10 {
		t.Errorf("%d heartbeats pass", n)
	}
	if n, _ := l.passes(2, "PUT", strings.Replace(beatA1, "a-1", "nobody", 1), "", from("192.0.2.7")...); n != 0 {
		t.Error("heartbeats of an unknown instance pass")
	}
	if n, _ := l.passes(3, "GET", "/healthz", "", from("192.0.2.7")...); n != 3 {
		t.Error("a look at the health is refused")
	}
	l.now.Add(4)
	if n, _ := l.passes(2, "GET", lookup, "", from("192.0.2.7")...); n != 1 {
		t.Errorf("%d requests pass later", n)
	}
}

func TestATokenIsOneCallerWhereverItComesFrom(t *testing.T) {
	l := startLimited(t, map[web.Limit]float64{web.Requests: 1})
	token := l.token("team", domain.TokenSpec{Roles: []string{"reader"}})
	other := l.token("other", domain.TokenSpec{Roles: []string{"reader"}})
	for i, want := range []bool{true, true, false, false} {
		n, _ := l.passes(1, "GET", "/v1/services", "", append(from("192.0.2."+string(rune('1'+i))), token...)...)
		if (n == 1) != want {
			t.Errorf("request %d passes: %v", i, n == 1)
		}
	}
	if n, _ := l.passes(1, "GET", "/v1/services", "", append(from("192.0.2.1"), other...)...); n != 1 {
		t.Error("another token of the same address is refused")
	}
	// Who guesses tokens is limited by the address.
	guess := append(from("192.0.2.9"), "Authorization", "Bearer rollcall_"+strings.Repeat("0", 64))
	if n, last := l.passes(5, "GET", "/v1/services", "", guess...); n != 2 || last.StatusCode != 429 {
		t.Errorf("%d guesses are answered", n)
	}
}

func TestTheItemsOfABatchCount(t *testing.T) {
	l := startLimited(t, map[web.Limit]float64{web.Requests: 2, web.Heartbeats: 2, web.Bytes: 1 << 20})
	batch := `[` + strings.Repeat(`{"type":"RegisterInstance","service":"s","id":"i","address":"10.0.0.1"},`, 9) + `{"type":"RegisterInstance","service":"s","id":"i","address":"10.0.0.1"}]`
	l.send("POST", "/v1/commands", batch, from("192.0.2.7")...).want(t, 200)
	r := l.send("GET", "/v1/services", "", from("192.0.2.7")...)
	r.problem(t, 429, "too-many-requests", "")
	if r.Header.Get("Retry-After") != "4" { // 4 at once less 10 is 6 owed and 1 lacking, at 2 a second
		t.Errorf("come back in %s s", r.Header.Get("Retry-After"))
	}
	l.send("POST", "/v1/heartbeats", `["s/i","s/i2","s/i3","s/i4"]`, from("192.0.2.8")...).want(t, 200)
	l.send("POST", "/v1/heartbeats", `["s/i"]`, from("192.0.2.8")...).problem(t, 429, "too-many-requests", "")
	if n, _ := l.passes(2, "GET", "/v1/services", "", from("192.0.2.8")...); n != 1 { // 3 of the instances are unknown
		t.Errorf("%d requests pass after a batch of unknown instances", n)
	}
}

func TestBytesOfBodiesCount(t *testing.T) {
	l := startLimited(t, map[web.Limit]float64{web.Bytes: 2000})
	body := `{"address":"10.0.0.1","metadata":{"a":"` + strings.Repeat("x", 4000) + `"}}`
	l.send("PUT", a1, body, from("192.0.2.7")...).want(t, 201)
	l.send("GET", "/v1/services", "", from("192.0.2.7")...).problem(t, 429, "too-many-requests", "")
	l.now.Add(1)
	if n, _ := l.passes(2, "GET", lookup, "", from("192.0.2.7")...); n != 1 { // the reply's 4 KB are owed
		t.Errorf("%d lookups pass", n)
	}
}

// The lane is no way around the limits: what it may not answer, the server refuses.
func TestTheLaneObeysTheLimits(t *testing.T) {
	l := startLimited(t, map[web.Limit]float64{web.Requests: 5, web.Heartbeats: 10, web.Bytes: 1 << 20})
	l.send("PUT", a1, `{"address":"10.0.0.1"}`, from("192.0.2.7")...).want(t, 201)
	before := l.api.Lane().Answered()
	count := func(n int, request string) (passed int) {
		w := l.dial() // a connection that names no other source
		r := bufio.NewReader(w)
		for range n {
			w.say(request)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode == 200 {
				passed++
			} else if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("the reply is %s", resp.Status)
			}
		}
		return passed
	}
	if n := count(15, request("PUT", beatA1)) + count(15, request("PUT", beatA1)); n != 20 {
		t.Errorf("%d heartbeats pass on two connections", n)
	}
	if n := count(15, request("GET", lookup)); n != 10 {
		t.Errorf("%d lookups pass", n)
	}
	if n := count(3, request("PUT", strings.Replace(beatA1, "a-1", "nobody", 1))); n != 0 {
		t.Errorf("%d heartbeats of an unknown instance pass", n)
	}
	if l.api.Lane().Answered() == before {
		t.Error("nothing took the lane")
	}
}

// A heartbeat for which the lane has no turn waits at the server, and is one heartbeat.
func TestAHeartbeatThatWaitsForItsTurnCountsOnce(t *testing.T) {
	for kind, say := range map[string]string{"one": request("PUT", beatA1), "a batch": request("POST", "/v1/heartbeats", "Content-Length: 16") + `["checkout/a-1"]`} {
		waits := make(chan struct{}, 100)
		l := startLimited(t, map[web.Limit]float64{web.Heartbeats: 10}, func(c *httpapi.Config) { c.Shed = func() { waits <- struct{}{} } })
		l.send("PUT", a1, `{"address":"10.0.0.1"}`, from("192.0.2.7")...).want(t, 201)
		w := l.dial()
		w.say(say)
		w.hear() // the server answers the first request of a connection
		before := l.api.Lane().Answered()
		w.say(say)
		if w.hear(); l.api.Lane().Answered() == before {
			t.Errorf("%s: the lane did not answer", kind)
		}
		release := l.api.HoldHeartbeats()
		w.say(say)
		<-waits
		release()
		if r := w.hear(); r.StatusCode != 200 {
			t.Fatalf("%s: the reply is %s", kind, r.Status)
		}
		passed := 3
		for range 25 {
			w.say(say)
			if w.hear().StatusCode == 200 {
				passed++
			}
		}
		if passed != 20 {
			t.Errorf("%s: %d pass", kind, passed)
		}
	}
}

// A lookup that the lane leaves to the server, which compresses the reply, counts once.
func TestALookupThatIsCompressedCountsOnce(t *testing.T) {
	l := startLimited(t, map[web.Limit]float64{web.Requests: 5})
	l.send("PUT", a1, `{"address":"10.0.0.1","metadata":{"a":"`+strings.Repeat("x", 4000)+`","b":"`+strings.Repeat("x", 4000)+`"}}`, from("192.0.2.7")...).want(t, 201)
	w, passed := l.dial(), 0
	for range 15 {
		w.say(request("GET", lookup, "Accept-Encoding: gzip"))
		switch r := w.hear(); {
		case r.StatusCode == http.StatusTooManyRequests:
		case r.Header.Get("Content-Encoding") != "gzip":
			t.Fatalf("the reply is %s, %v", r.Status, r.Header)
		default:
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d lookups pass", passed)
	}
}

// A source that shows tokens with wrong signatures is refused before their signatures are checked.
func TestASourceIsLimitedBeforeSignaturesAreChecked(t *testing.T) {
	v := &voucher{bearers: map[string]*web.Caller{"a.b.c": web.NewCaller(web.ByJWT, "ci:build", nil, time.Time{})}}
	g := guarded{}
	g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Access = &web.Access{Tokens: c.Tokens, Now: time.Now, Vouched: v}
		c.Limits = web.NewLimits(map[web.Limit]float64{web.Requests: 5}, nil, func() time.Time { return time.Unix(0, 0) })
	})
	g.send("GET", "/v1/catalog", "", jwt...)
	refused := 0
	for range 30 {
		switch g.send("GET", "/v1/catalog", "", "Authorization", "Bearer forged.b.c").StatusCode {
		case http.StatusTooManyRequests:
			refused++
		case http.StatusUnauthorized:
		default:
			t.Fatal("a forged token is taken")
		}
	}
	// One of the ten that the source may send at once was the good token's.
	if verified := v.verified.Load(); refused != 21 || verified != 10 {
		t.Errorf("%d of 30 were refused, and %d signatures checked", refused, verified)
	}
	if got := g.send("GET", "/v1/catalog", "", jwt...).StatusCode; got == http.StatusTooManyRequests {
		t.Error("a token that was verified before is limited for the forger's source")
	}
}

// The bytes of a stream are owed by its caller, whose next requests wait. The stream goes on.
func TestTheBytesOfAStreamCountForItsCaller(t *testing.T) {
	for _, path := range []string{"/v1/streams/catalog", "/v1/events?follow=true&from=0", "/v1/streams/events?from=0"} {
		l := startLimited(t, map[web.Limit]float64{web.Bytes: 2000})
		note := strings.Repeat("n", 3000)
		l.send("PUT", a1, `{"address":"10.0.0.5","metadata":{"note":"`+note+`"}}`, from("10.0.0.1")...).want(t, 201)
		lines := l.lines(t.Context(), path, from("10.0.0.2"))
		next := func() {
			t.Helper()
			for line := range lines {
				if strings.Contains(line, note) {
					return
				}
			}
			t.Fatalf("%s ended", path)
		}
		next()
		l.send("PUT", a1, `{"address":"10.0.0.6","metadata":{"note":"`+note+`"}}`, from("10.0.0.3")...).want(t, 200)
		next()
		if got := l.send("GET", "/v1/services/none", "", from("10.0.0.2")...).StatusCode; got != http.StatusTooManyRequests {
			t.Errorf("%s: the caller of the stream gets %d", path, got)
		}
		if got := l.send("GET", "/v1/services/none", "", from("10.0.0.4")...).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: another caller gets %d", path, got)
		}
	}
}
