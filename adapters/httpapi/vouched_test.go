package httpapi_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

// voucher vouches for the bearers of some tokens.
type voucher struct {
	bearers   map[string]*web.Caller
	anonymous []domain.TokenSpec
	verified  atomic.Int64
	version   atomic.Uint64
	known     sync.Map
}

func (v *voucher) Verify(_ context.Context, token []byte) *web.Caller {
	v.verified.Add(1)
	v.known.Store(string(token), true)
	return v.bearers[string(token)]
}

func (v *voucher) Remembered(token []byte) *web.Caller {
	if _, ok := v.known.Load(string(token)); !ok {
		return nil
	}
	return v.bearers[string(token)]
}

func (v *voucher) Workload(*x509.Certificate) *web.Caller { return nil }
func (v *voucher) Anonymous() []domain.TokenSpec          { return v.anonymous }
func (v *voucher) Version() uint64                        { return v.version.Load() }

var jwt = []string{"Authorization", "Bearer a.b.c"}

// startVouched is a registry that takes the token a.b.c for an hour, whose bearer has the role "own". later moves its clock.
func startVouched(t testing.TB) (g guarded, v *voucher, later func(time.Duration)) {
	t.Helper()
	var moved atomic.Int64
	rights := []domain.TokenSpec{{Roles: []string{"own"}}}
	v = &voucher{
		bearers:   map[string]*web.Caller{"a.b.c": web.NewCaller(web.ByJWT, "ci:build", rights, time.Now().Add(time.Hour))},
		anonymous: rights,
	}
	g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		now := func() time.Time { return time.Now().Add(time.Duration(moved.Load())) }
		g.access = &web.Access{Tokens: c.Tokens, Vouched: v, Now: now}
		c.Access, g.commands = g.access, c.AccessCommands
	})
	g.role(domain.WriteOwn | domain.ReadCatalog)
	return g, v, func(d time.Duration) { moved.Add(int64(d)) }
}

// role gives the role "own" these verbs.
func (g guarded) role(verbs domain.Verb) {
	g.t.Helper()
	if err := g.commands.Do(g.t.Context(), commands.Caller{}, domain.SetRole{Name: "own", Grants: []domain.RoleGrant{{Verbs: verbs.Names()}}}); err != nil {
		g.t.Fatal(err)
	}
}

func TestAVerifiedTokenStaysInTheLaneUntilItEnds(t *testing.T) {
	g, v, later := startVouched(t)
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, jwt...).want(t, 201)
	v.known.Clear()
	verified := v.verified.Load()
	w := g.dial()
	text := request("PUT", beatA1, jwt[0]+": "+jwt[1])
	beat := func(want int) {
		t.Helper()
		if w.say(text); w.hear().StatusCode != want {
			t.Errorf("not answered %d", want)
		}
	}
	before := g.api.Lane().Answered()
	for range 10 {
		beat(200)
	}
	if lane := g.api.Lane().Answered() - before; lane != 9 || v.verified.Load() != verified+1 {
		t.Errorf("%d of 10 took the lane, and the token was verified %d times", lane, v.verified.Load()-verified)
	}
	g.role(domain.ReadCatalog)
	beat(403)
	g.role(domain.WriteOwn)
	beat(200)
	later(time.Hour)
	beat(401)
	for _, other := range []string{"a.b.d", "a.b", "a.b.c.d", "a..c"} {
		g.send("GET", "/v1/catalog", "", "Authorization", "Bearer "+other).want(t, 401)
	}
}

// A caller who is refused is counted once, also where the lane has looked at the request first. A token that the lane does not know yet, and
// the server then takes, is not counted as refused.
func TestARefusedCallerIsCountedOnce(t *testing.T) {
	g, v, _ := startVouched(t)
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, jwt...).want(t, 201)
	v.known.Clear()
	w := g.dial()
	w.say(request("GET", "/healthz"))
	w.hear().want(t, 200)
	for _, sent := range []struct {
		bearer string
		status int
	}{{"a.b.c", 200}, {"a.b.c", 200}, {"a.b.d", 401}, {"wrong", 401}, {"wrong", 401}} {
		w.say(request("PUT", beatA1, "Authorization: Bearer "+sent.bearer))
		w.hear().want(t, sent.status)
	}
	if jwts, tokens := g.access.Told(web.ByJWT, false), g.access.Told(web.ByToken, false); jwts != 1 || tokens != 2 {
		t.Errorf("%d and %d callers are counted as refused", jwts, tokens)
	}
	if g.api.Lane().Answered() == 0 {
		t.Error("nothing took the lane")
	}
}

func TestAnonymousCallersHaveThePresentRightsOfTheirRole(t *testing.T) {
	g, v, _ := startVouched(t)
	w := g.dial()
	text := request("GET", "/v1/services/checkout/instances")
	for verbs, want := range map[domain.Verb]int{domain.ReadHistory: 401, domain.ReadCatalog: 200} {
		g.role(verbs)
		if w.say(text); w.hear().StatusCode != want {
			t.Errorf("%s: not %d", verbs, want)
		}
	}
	g.role(domain.ReadCatalog)
	v.anonymous = nil
	v.version.Add(1) // as a change of the rules does
	if w.say(text); w.hear().StatusCode != 401 {
		t.Error("the rules have changed, and nobody looks")
	}
}

func TestAStreamEndsWithItsVerifiedToken(t *testing.T) {
	g, _, later := startVouched(t)
	writer := g.token("writer", domain.TokenSpec{Roles: []string{"operator"}})
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, writer...).want(t, 201)
	r, err := http.NewRequestWithContext(t.Context(), "GET", g.URL+"/v1/streams/catalog", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(jwt[0], jwt[1])
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
	}
	later(time.Hour)
	g.send("PUT", a1, `{"address":"10.0.0.77"}`, writer...).want(t, 200)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "10.0.0.77") {
			t.Errorf("after the token's end came %s", lines.Text())
		}
	}
}

func BenchmarkAnIdentityThatStands(b *testing.B) {
	g, _, _ := startVouched(b)
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, jwt...).want(b, 201)
	id, err := g.access.Authorize([]byte(jwt[1]), "127.0.0.1:1", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !id.Still() || id.May(domain.ReadCatalog, domain.Key{Namespace: "default", Service: "checkout"}) != nil {
			b.Fatal("not allowed")
		}
	}
}

// A heartbeat that shows an issuer's token of a kilobyte, beside one that shows a token of the registry.
func BenchmarkHeartbeatsInTheLane(b *testing.B) {
	g, v, _ := startVouched(b)
	long := "a." + strings.Repeat("b", 1000) + ".c"
	v.bearers[long] = v.bearers["a.b.c"]
	own := g.token("own", domain.TokenSpec{Roles: []string{"operator"}})
	g.send("PUT", a1, `{"address":"10.0.0.5"}`, "Authorization", "Bearer "+long).want(b, 201)
	b.Run("token", func(b *testing.B) { blast(b, g.server, 32, request("PUT", beatA1, own[0]+": "+own[1])) })
	b.Run("jwt", func(b *testing.B) { blast(b, g.server, 32, request("PUT", beatA1, "Authorization: Bearer "+long)) })
}

// A rule with networks fits at their addresses only: elsewhere its caller has what anonymous callers have.
func TestRulesAreBoundToNetworks(t *testing.T) {
	here := domain.TokenSpec{Roles: []string{"own"}, Networks: []string{"127.0.0.0/8"}}
	elsewhere := domain.TokenSpec{Roles: []string{"own"}, Networks: []string{"10.0.0.0/8", "2001:db8::/32"}}
	v := &voucher{bearers: map[string]*web.Caller{
		"a.b.c": web.NewCaller(web.ByJWT, "ci:build", []domain.TokenSpec{elsewhere, here}, time.Time{}),
		"a.b.d": web.NewCaller(web.ByJWT, "ci:other", []domain.TokenSpec{elsewhere}, time.Time{}),
	}, anonymous: []domain.TokenSpec{elsewhere}}
	g := guarded{}
	g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		c.Access, c.Proxies = &web.Access{Tokens: c.Tokens, Now: time.Now, Vouched: v}, trust(t, "127.0.0.1/32")
		g.commands = c.AccessCommands
	})
	g.role(domain.ReadCatalog)
	for range 2 { // the second time by what is remembered
		for _, c := range []struct {
			token, source string
			want          int
		}{
			{"a.b.c", "", 200}, {"a.b.c", "10.1.2.3", 200}, {"a.b.c", "192.0.2.1", 403}, {"a.b.d", "", 403}, {"a.b.d", "10.1.2.3", 200}, {"a.b.d", "::ffff:10.1.2.3", 200},
			{"a.b.d", "unknown", 403}, {"", "", 401}, {"", "10.1.2.3", 200}, {"", "2001:db8::1", 200}, {"", "2001:db9::1", 401},
		} {
			var header []string
			if c.token != "" {
				header = append(header, "Authorization", "Bearer "+c.token)
			}
			if c.source != "" {
				header = append(header, "X-Forwarded-For", c.source)
			}
			if got := g.begin("GET", "/v1/catalog", "", header...); got != c.want {
				t.Errorf("%q from %q: %d, want %d", c.token, c.source, got, c.want)
			}
		}
	}
}
