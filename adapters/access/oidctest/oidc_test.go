// Package oidctest holds a registry to the tokens of a real OpenID provider, which runs in the test. It is a module of its
// own, so that the registry does not depend on the provider.
package oidctest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var accounts = map[string]account{
	"checkout": {subject: "system:serviceaccount:default:checkout", audience: "rollcall"},
	"ops":      {subject: "ann", audience: "rollcall", claims: map[string]any{"groups": []string{"staff", "platform"}}},
	"guest":    {subject: "bob", audience: "rollcall"},
	"stranger": {subject: "system:serviceaccount:default:checkout", audience: "another"},
	"expired":  {subject: "system:serviceaccount:default:checkout", audience: "rollcall", lifetime: -time.Minute},
	"skewed":   {subject: "system:serviceaccount:default:checkout", audience: "rollcall", behind: -20 * time.Second},
	"future":   {subject: "system:serviceaccount:default:checkout", audience: "rollcall", behind: -2 * time.Minute},
}

func rulesOf(p *provider) string {
	return fmt.Sprintf(`issuers:
  - name: k8s
    url: %s
    ca: %s
    audiences: [rollcall]
    rules:
      - claims: { sub: "system:serviceaccount:{ns}:{service}" }
        roles: [service]
        namespaces: ["{ns}"]
        services: ["{service}"]
      - claims: { groups: platform }
        roles: [operator]
`, p.server.URL, p.ca)
}

const (
	instance  = "/v1/services/checkout/instances/a"
	lookup    = "/v1/services/checkout/instances"
	heartbeat = instance + "/heartbeat"
)

func TestATokenOfTheProviderIsItsBearersNameAndRight(t *testing.T) {
	p := startProvider(t, accounts)
	r := startRegistry(t, rulesOf(p))
	checkout, ops, guest := p.token("checkout"), p.token("ops"), p.token("guest")
	for _, c := range []struct {
		name, token, method, path, body string
		want                            int
	}{
		{"a workload registers itself", checkout, "PUT", instance, `{"address":"10.0.0.1","ttl":"1h"}`, 201},
		{"it renews", checkout, "PUT", heartbeat, "", 200},
		{"it registers no other service", checkout, "PUT", "/v1/services/billing/instances/a", `{"address":"10.0.0.1"}`, 403},
		{"nor itself in another namespace", checkout, "PUT", instance + "?ns=shop", `{"address":"10.0.0.1"}`, 403},
		{"an operator drains it", ops, "PUT", instance + "/traffic", `{"traffic":"draining"}`, 200},
		{"but manages no access", ops, "GET", "/v1/access/tokens", "", 403},
		{"a bearer whom no rule names may do nothing", guest, "GET", lookup, "", 403},
		{"a token of another audience", p.token("stranger"), "GET", lookup, "", 401},
		{"an expired token", p.token("expired"), "GET", lookup, "", 401},
		{"a clock that is a little ahead", p.token("skewed"), "GET", lookup, "", 200},
		{"a clock that is far ahead", p.token("future"), "GET", lookup, "", 401},
	} {
		if got, body, _ := r.ask(c.token, c.method, c.path, c.body); got != c.want {
			t.Errorf("%s: %d, not %d: %s", c.name, got, c.want, body)
		}
	}
	_, body, _ := r.ask(guest, "GET", lookup, "")
	if !strings.Contains(body, "k8s:bob") || !strings.Contains(body, "read-catalog") || !strings.Contains(body, "default/checkout") {
		t.Errorf("the refusal does not name the bearer, the verb and the pattern: %s", body)
	}
	admin := r.admin()
	for actor, kind := range map[string]string{"k8s:system:serviceaccount:default:checkout": "InstanceRegistered", "k8s:ann": "TrafficChanged"} {
		if _, body, _ := r.ask(admin, "GET", "/v1/history?actor="+actor, ""); !strings.Contains(body, kind) || !strings.Contains(body, `"actor":"`+actor+`"`) {
			t.Errorf("the history does not tell what %s did: %s", actor, body)
		}
	}
	for range 50 {
		if got, body, _ := r.ask(checkout, "PUT", heartbeat, ""); got != 200 {
			t.Fatalf("a heartbeat: %d %s", got, body)
		}
	}
	_, metrics, _ := r.ask(admin, "GET", "/metrics", "")
	for _, want := range []string{`rollcall_http_lane_requests_total ([5-9]\d|\d{3})`, `rollcall_access_callers_total\{method="jwt",result="accepted"\} [1-9]`, `rollcall_access_callers_total\{method="jwt",result="refused"\} [1-9]`} {
		if !regexp.MustCompile(want).MatchString(metrics) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
}

// Every token that was tampered with gets the same answer.
func TestForgedTokensAreRefusedWithoutAHint(t *testing.T) {
	p := startProvider(t, accounts)
	others := startProvider(t, accounts)
	r := startRegistry(t, rulesOf(p))
	good := p.token("ops")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(p.signing().private.Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: p.signing().private.Public(), KeyID: "first", Algorithm: "RS256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(algorithm jose.SignatureAlgorithm, key any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: "first"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		object, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		token, err := object.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	plain := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	}
	id := regexp.MustCompile(`"request_id":"[^"]*"`)
	answer := ""
	for name, token := range map[string]string{
		"another issuer":                 others.token("ops"),
		"alg none":                       plain(`{"alg":"none"}`),
		"alg none with the key's id":     plain(`{"alg":"none","kid":"first"}`) + "AAAA",
		"HS256 with the public key, DER": sign(jose.HS256, public),
		"HS256 with the public key, PEM": sign(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"HS256 with the published key":   sign(jose.HS256, jwk),
		"another key with the same id":   sign(jose.RS256, newRSA(t, "first").private),
		"a key of another type":          sign(jose.ES256, newEC(t, "first").private),
		"PS256 with another key":         sign(jose.PS256, newRSA(t, "first").private),
		"a signature cut short":          good[:len(good)-8],
		"many dots":                      strings.Repeat("a.", 5000),
		"30 KB":                          strings.Repeat("a", 30_000) + good[strings.Index(good, "."):],
		"an unknown token":               "rollcall_" + strings.Repeat("0", 64),
		"garbage":                        "x",
	} {
		status, body, header := r.ask(token, "GET", lookup, "")
		body = id.ReplaceAllString(body, "")
		if answer == "" {
			answer = body
		}
		if status != http.StatusUnauthorized || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer ") || body != answer {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	// The server answers 1 MB of headers before anybody looks at the token.
	if status, _, _ := r.ask(strings.Repeat("a", 1<<20), "GET", lookup, ""); status != http.StatusRequestHeaderFieldsTooLarge && status != http.StatusUnauthorized {
		t.Errorf("1 MB: %d", status)
	}
	if status, body, _ := r.ask(good, "GET", lookup, ""); status != http.StatusOK {
		t.Errorf("the good token: %d %s", status, body)
	}
}

func TestKeysAreRotatedAndOutliveTheirProvider(t *testing.T) {
	p := startProvider(t, accounts)
	r := startRegistry(t, rulesOf(p))
	check := func(name, token string, want int) {
		t.Helper()
		if got, body, _ := r.ask(token, "GET", lookup, ""); got != want {
			t.Errorf("%s: %d, not %d: %s", name, got, want, body)
		}
	}
	first := p.token("ops")
	check("the first key", first, 200)
	old, fresh := p.signing(), newEC(t, "second")
	p.publish(old, fresh)
	second := p.token("ops")
	check("a key that was added, of another type", second, 200)
	check("the first key, which is still there", first, 200)
	p.publish(fresh, newRSA(t, "third"))
	unseen := p.token("checkout")
	check("a third key", p.token("ops"), 200)
	check("the first key, which was withdrawn", first, 401)
	p.server.Close()
	check("a known token after the provider's end", second, 200)
	check("a new token after the provider's end", unseen, 200)
}

func TestAProviderThatIsAwayDoesNotStopTheStart(t *testing.T) {
	p := startProvider(t, accounts)
	rules, token := rulesOf(p), p.token("ops")
	p.server.Close()
	r := startRegistry(t, rules)
	if got, body, _ := r.ask(token, "GET", lookup, ""); got != 401 {
		t.Errorf("a token whose key is not known: %d %s", got, body)
	}
	if got, body, _ := r.ask(r.admin(), "GET", lookup, ""); got != 200 {
		t.Errorf("a token of the registry: %d %s", got, body)
	}
}
