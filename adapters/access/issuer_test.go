package access

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// fakeIssuer serves discovery and keys, and signs tokens.
type fakeIssuer struct {
	t testing.TB
	*httptest.Server
	asked atomic.Int64 // for keys
	// discovery answers in place of the issuer's own document, if it is set.
	discovery atomic.Value // func(http.ResponseWriter)
	down      atomic.Bool

	mu   sync.Mutex
	keys []jose.JSONWebKey
}

func newFakeIssuer(t testing.TB) *fakeIssuer {
	i := &fakeIssuer{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if other, ok := i.discovery.Load().(func(http.ResponseWriter)); ok {
			other(w)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	})
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

// publish makes these the issuer's keys.
func (i *fakeIssuer) publish(keys ...signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, k := range keys {
		i.keys = append(i.keys, jose.JSONWebKey{Key: k.key.Public(), KeyID: k.id, Use: "sig"})
	}
}

// signer is a private key with its id and algorithm.
type signer struct {
	id        string
	algorithm jose.SignatureAlgorithm
	key       crypto.Signer
}

func rsaKey(t testing.TB, id string) signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, jose.RS256, key}
}

func ecKey(t testing.TB, id string) signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, jose.ES256, key}
}

type claims map[string]any

// with is the claims with others in place of some; nil takes a claim out.
func (c claims) with(other claims) claims {
	all := claims{}
	for _, from := range []claims{c, other} {
		for name, value := range from {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
	}
	return all
}

func (s signer) sign(t testing.TB, c claims) string {
	t.Helper()
	return signed(t, jose.SigningKey{Algorithm: s.algorithm, Key: jose.JSONWebKey{Key: s.key, KeyID: s.id}}, c)
}

func signed(t testing.TB, key jose.SigningKey, c claims) string {
	t.Helper()
	s, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	object, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// unsigned makes a token of a header and claims, with a signature that is any text.
func unsigned(t testing.TB, header string, c claims, signature string) string {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode(payload) + "." + encode([]byte(signature))
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is the callers of a file that trusts one issuer, at a time that stands still until the test moves it.
type world struct {
	*Callers
	t      testing.TB
	issuer *fakeIssuer
	key    signer
	path   string
	at     atomic.Pointer[time.Time]
	log    *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, issuer: newFakeIssuer(t), key: rsaKey(t, "one"), log: &safeBuffer{}}
	w.issuer.publish(w.key)
	w.at.Store(&now)
	w.path = filepath.Join(t.TempDir(), "access.yaml")
	w.write(w.file("rollcall", "reader"))
	var err error
	w.Callers, err = Open(Options{
		File: w.path, Now: func() time.Time { return *w.at.Load() }, Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Role: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) file(audience, role string) string {
	return fmt.Sprintf(`issuers:
  - name: ci
    url: %s
    audiences: [other, %s]
    rules:
      - claims: { sub: "*" }
        roles: [%s]
      - claims: { groups: "team-{ns}", kubernetes.io: { pod: { name: "{service}" } } }
        roles: [service]
        namespaces: ["{ns}"]
        services: ["{service}*"]
`, w.issuer.URL, audience, role)
}

// write replaces the file, as a careful program does.
func (w *world) write(content string) {
	w.t.Helper()
	fresh := w.path + ".new"
	if err := os.WriteFile(fresh, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(fresh, w.path); err != nil {
		w.t.Fatal(err)
	}
}

// run runs the callers until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// until waits for something that Run does.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within 20 s\n%s", what, w.log)
		}
	}
}

func (w *world) move(d time.Duration) {
	moved := w.at.Load().Add(d)
	w.at.Store(&moved)
}

func (w *world) good() claims {
	return claims{"iss": w.issuer.URL, "aud": "rollcall", "sub": "build-7", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
}

func (w *world) verify(token string) *web.Caller { return w.Verify(w.t.Context(), []byte(token)) }

func TestATokenOfATrustedIssuerNamesItsBearer(t *testing.T) {
	w := newWorld(t)
	token := w.key.sign(t, w.good())
	if w.Remembered([]byte(token)) != nil {
		t.Error("a token is remembered that was never verified")
	}
	c := w.verify(token)
	if c == nil || c.Name != "ci:build-7" || c.By != web.ByJWT || len(c.Rights) != 1 || c.Rights[0].Roles[0] != "reader" || !c.Expires.Equal(now.Add(time.Hour+defaultSkew)) {
		t.Fatalf("%+v\n%s", c, w.log)
	}
	if w.Remembered([]byte(token)) != c || w.verify(token) != c || w.issuer.asked.Load() != 1 {
		t.Error("a token is not remembered")
	}
	w.move(time.Hour + defaultSkew)
	if w.Remembered([]byte(token)) != nil || w.verify(token) != nil {
		t.Error("a remembered token outlives itself")
	}
}

func TestClaimsAreMappedToRightsByRules(t *testing.T) {
	w := newWorld(t)
	pod := func(name any) claims { return claims{"pod": claims{"name": name}} }
	for name, c := range map[string]struct {
		claims claims
		want   string
	}{
		"two groups":        {claims{"groups": []string{"team-shop", "x", "team-pay"}, "kubernetes.io": pod("checkout")}, "[shop] [checkout*], [pay] [checkout*]"},
		"one group":         {claims{"groups": "team-shop", "kubernetes.io": pod("checkout")}, "[shop] [checkout*]"},
		"a star for a name": {claims{"groups": "team-*", "kubernetes.io": pod("checkout")}, ""},
		"a pod of no name":  {claims{"groups": "team-shop", "kubernetes.io": pod(nil)}, ""},
		"no pod":            {claims{"groups": "team-shop"}, ""},
		"another kind":      {claims{"groups": 7, "kubernetes.io": "pod"}, ""},
	} {
		caller := w.verify(w.key.sign(t, w.good().with(c.claims)))
		if caller == nil {
			t.Fatalf("%s: refused", name)
		}
		var got []string
		for _, r := range caller.Rights[1:] {
			got = append(got, fmt.Sprintf("%v %v", r.Namespaces, r.Services))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("team-%d", i))
	}
	if caller := w.verify(w.key.sign(t, w.good().with(claims{"groups": many, "kubernetes.io": pod("a")}))); caller == nil || len(caller.Rights) != maxRights {
		t.Error("rights without a limit")
	}
}

func TestATokenThatIsNotGoodHereIsRefused(t *testing.T) {
	w := newWorld(t)
	good := w.good()
	other, ec := rsaKey(t, "one"), ecKey(t, "one")
	public, err := x509.MarshalPKIXPublicKey(w.key.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	hmac := func(secret []byte) string {
		return signed(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: "one"}}, good)
	}
	published, err := json.Marshal(w.issuer.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	sign := func(c claims) string { return w.key.sign(t, good.with(c)) }
	parts := strings.Split(sign(nil), ".")
	for name, token := range map[string]string{
		"another audience":              sign(claims{"aud": "others"}),
		"other audiences":               sign(claims{"aud": []string{"a", "b"}}),
		"no audience":                   sign(claims{"aud": nil}),
		"an audience that is a number":  sign(claims{"aud": 7}),
		"another issuer":                sign(claims{"iss": "https://evil.example"}),
		"the issuer with a slash":       sign(claims{"iss": w.issuer.URL + "/"}),
		"no issuer":                     sign(claims{"iss": nil}),
		"expired":                       sign(claims{"exp": now.Add(-time.Minute).Unix()}),
		"expired within a second":       sign(claims{"exp": now.Add(-defaultSkew).Unix()}),
		"never expires":                 sign(claims{"exp": nil}),
		"an expiry that is a text":      sign(claims{"exp": "9999999999"}),
		"not good yet":                  sign(claims{"nbf": now.Add(time.Minute).Unix()}),
		"issued in the future":          sign(claims{"iat": now.Add(time.Minute).Unix()}),
		"the audience in capitals":      sign(claims{"aud": "others", "AUD": "rollcall"}),
		"a list in mixed case":          sign(claims{"aud": "others", "auD": []string{"rollcall"}}),
		"the expiry in capitals":        sign(claims{"exp": now.Add(-time.Hour).Unix(), "EXP": now.Add(time.Hour).Unix()}),
		"another claim than the expiry": sign(claims{"exp": nil, "Exp": now.Add(time.Hour).Unix()}),
		"a long s in the issuer":        sign(claims{"iss": nil, "i\u017fs": w.issuer.URL}),
		"no subject":                    sign(claims{"sub": nil}),
		"an empty subject":              sign(claims{"sub": ""}),
		"a subject of two lines":        sign(claims{"sub": "a\nb"}),
		"a long subject":                sign(claims{"sub": strings.Repeat("a", web.MaxName)}),
		"a subject that is a list":      sign(claims{"sub": []string{"a"}}),
		"another key with the id":       other.sign(t, good),
		"a key of another type":         ec.sign(t, good),
		"the key for another algorithm": signed(t, jose.SigningKey{Algorithm: jose.PS256,
			Key: jose.JSONWebKey{Key: other.key, KeyID: "one"}}, good),
		"HS256 with the public key":      hmac(public),
		"HS256 with the published key":   hmac(published),
		"HS256 with nothing to speak of": hmac(make([]byte, 32)),
		"alg none":                       unsigned(t, `{"alg":"none"}`, good, ""),
		"alg None and a signature":       unsigned(t, `{"alg":"None","kid":"one"}`, good, "x"),
		"no alg":                         unsigned(t, `{"kid":"one"}`, good, "x"),
		"a header with its own key":      unsigned(t, `{"alg":"RS256","jwk":`+string(published)+`}`, good, "x"),
		"a critical header":              unsigned(t, `{"alg":"RS256","kid":"one","crit":["exp"],"exp":1}`, good, "x"),
		"another payload":                parts[0] + "." + strings.Split(sign(claims{"sub": "root"}), ".")[1] + "." + parts[2],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"two parts":                      parts[0] + "." + parts[1],
		"many dots":                      strings.Repeat(".", 10_000),
		"1 MB":                           strings.Repeat("a", 1<<20) + "." + parts[1] + "." + parts[2],
		"a payload that is no JSON":      parts[0] + ".YQ." + parts[2],
		"a payload that is a list":       parts[0] + ".W10." + parts[2],
		"garbage":                        "\x00\xff.\x00.",
		"nothing":                        "",
	} {
		if c := w.verify(token); c != nil {
			t.Errorf("%s: taken for %s", name, c.Name)
		}
		if w.Remembered([]byte(token)) != nil {
			t.Errorf("%s: remembered", name)
		}
	}
	if w.issuer.asked.Load() > askBurst {
		t.Errorf("bad tokens made the registry ask the issuer %d times", w.issuer.asked.Load())
	}
	if w.verify(sign(nil)) == nil {
		t.Error("a good token is refused")
	}
}

func TestClocksMayBeApartByTheSkew(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]claims{
		"expired within the skew":   {"exp": now.Add(1-defaultSkew).Unix() + 1},
		"not yet good, by the skew": {"nbf": now.Add(defaultSkew).Unix(), "iat": now.Add(defaultSkew).Unix()},
		"other claims in capitals":  {"AUD": "others", "EXP": 1, "NBF": now.Add(time.Hour).Unix(), "Iat": "yes"},
		"many audiences":            {"aud": []string{"x", "rollcall"}},
		"an expiry far away":        {"exp": 1e300},
	} {
		if w.verify(w.key.sign(t, w.good().with(c))) == nil {
			t.Errorf("%s: refused\n%s", name, w.log)
		}
	}
}

func TestANewKeyIsTakenAndAWithdrawnOneIsNot(t *testing.T) {
	w := newWorld(t)
	w.run()
	old, fresh := w.key.sign(t, w.good()), ecKey(t, "two")
	if w.verify(old) == nil {
		t.Fatal("the first key is refused")
	}
	version := w.Version()
	w.issuer.publish(w.key, fresh)
	token := fresh.sign(t, w.good())
	if w.verify(token) == nil || w.Remembered([]byte(old)) == nil || w.Version() != version {
		t.Fatalf("a key that was added\n%s", w.log)
	}
	third := rsaKey(t, "three")
	w.issuer.publish(fresh, third)
	if w.verify(third.sign(t, w.good())) == nil {
		t.Fatal("the third key is refused")
	}
	if w.Version() == version || w.Remembered([]byte(old)) != nil || w.verify(old) != nil || w.verify(token) == nil {
		t.Errorf("a key that was withdrawn is good\n%s", w.log)
	}
}

// Tokens of an issuer end early only by its keys. An issuer whose only key was stolen may have no other one yet.
func TestAnIssuerMayWithdrawAllItsKeys(t *testing.T) {
	w := newWorld(t)
	w.run()
	token, fresh := w.key.sign(t, w.good()), ecKey(t, "two")
	if w.verify(token) == nil {
		t.Fatal("the first key is refused")
	}
	w.issuer.publish()
	if w.verify(fresh.sign(t, w.good())) != nil {
		t.Fatal("a key is good that was never published")
	}
	if w.Remembered([]byte(token)) != nil || w.verify(token) != nil || w.verify(w.key.sign(t, w.good().with(claims{"sub": "another"}))) != nil {
		t.Errorf("a key is good after the issuer withdrew all its keys\n%s", w.log)
	}
	if n := strings.Count(w.log.String(), "has no key that tokens could be signed with"); n != 1 {
		t.Errorf("the log tells %d times that the issuer has no key\n%s", n, w.log)
	}
	w.issuer.publish(fresh)
	k := w.rules.Load().issuers[w.issuer.URL].keys
	if err := k.fetch(t.Context(), k.fetches.Load()); err != nil || w.verify(fresh.sign(t, w.good())) == nil {
		t.Errorf("a later key is refused\n%s", w.log)
	}
}

// Keys for other purposes are none of those that count.
func TestTheLogTellsOfKeysThatAreTooMany(t *testing.T) {
	w := newWorld(t)
	last := ecKey(t, "last")
	other := make([]signer, maxKeys)
	for i := range other {
		other[i] = ecKey(t, fmt.Sprint("other", i))
	}
	w.issuer.publish(append(slices.Clone(other), w.key, last)...)
	w.issuer.mu.Lock()
	for i := range other[:maxKeys-1] { // so that one key is one too many
		w.issuer.keys[i].Use = "enc"
	}
	w.issuer.mu.Unlock()
	w.run()
	if w.verify(w.key.sign(t, w.good())) == nil || w.verify(last.sign(t, w.good())) == nil || strings.Contains(w.log.String(), "more keys") {
		t.Fatalf("keys for encryption count\n%s", w.log)
	}
	w.issuer.publish(append(slices.Clone(other[1:]), w.key, last)...)
	k := w.rules.Load().issuers[w.issuer.URL].keys
	for range 2 {
		if err := k.fetch(t.Context(), k.fetches.Load()); err != nil {
			t.Fatal(err)
		}
	}
	if w.verify(w.key.sign(t, w.good())) == nil || w.verify(last.sign(t, w.good())) != nil {
		t.Error("another key is left out than the last")
	}
	if n := strings.Count(w.log.String(), "taken=128 left_out=1"); n != 1 {
		t.Errorf("the log tells %d times of it\n%s", n, w.log)
	}
}

func TestALostIssuerStopsNobodyWhoseKeyIsKnown(t *testing.T) {
	w := newWorld(t)
	w.issuer.down.Store(true)
	w.run() // the start does not wait for it
	w.until("the log tells of the loss", func() bool { return strings.Contains(w.log.String(), "cannot be fetched") })
	if w.verify(w.key.sign(t, w.good())) != nil {
		t.Fatal("a token is taken without a key")
	}
	w.issuer.down.Store(false)
	w.until("the keys are fetched", func() bool { return w.verify(w.key.sign(t, w.good())) != nil })
	w.issuer.down.Store(true)
	if w.verify(w.key.sign(t, w.good().with(claims{"sub": "another"}))) == nil {
		t.Error("a lost issuer stops callers")
	}
	// A change of the file keeps the keys.
	w.write(w.file("rollcall", "operator"))
	w.until("the file is read again", func() bool {
		c := w.verify(w.key.sign(t, w.good()))
		return c != nil && c.Rights[0].Roles[0] == "operator"
	})
	if n := strings.Count(w.log.String(), "were fetched"); n != 1 {
		t.Errorf("the log tells %d times that keys were fetched\n%s", n, w.log)
	}
}

// Kubernetes gives its keys to known callers only.
func TestTheTokenFileIsShownToTheIssuerAlone(t *testing.T) {
	key := rsaKey(t, "one")
	var shown sync.Map // by path
	keys := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store("keys", r.Header.Get("Authorization"))
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.key.Public(), KeyID: key.id}}})
	}))
	defer keys.Close()
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store("discovery", r.Header.Get("Authorization"))
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, keys.URL)
	}))
	defer issuer.Close()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	pem := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}) // all servers of httptest have it
	for path, content := range map[string][]byte{ca: pem, token: []byte("mine\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := newKeys(&Issuer{URL: issuer.URL, CA: ca, TokenFile: token}, slog.New(slog.DiscardHandler), func() {})
	if err := k.fetch(t.Context(), 0); err != nil || k.len() != 1 {
		t.Fatal(err)
	}
	if got, _ := shown.Load("discovery"); got != "Bearer mine" {
		t.Errorf("the issuer sees %q", got)
	}
	if got, _ := shown.Load("keys"); got != "" {
		t.Errorf("another server sees %q", got)
	}
}

func TestAnswersThatOthersCouldChangeAreNotTaken(t *testing.T) {
	for name, where := range map[string]string{"plain HTTP elsewhere": "http://keys.example/", "no URL": ":", "nothing": ""} {
		var issuer *httptest.Server
		issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, where)
		}))
		k := newKeys(&Issuer{URL: issuer.URL}, slog.New(slog.DiscardHandler), func() {})
		if err := k.fetch(t.Context(), 0); err == nil {
			t.Errorf("%s: taken", name)
		}
		issuer.Close()
	}
	done := make(chan struct{})
	switches := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		_ = http.NewResponseController(w).Flush()
		<-done
	}))
	if err := newKeys(&Issuer{URL: switches.URL}, slog.New(slog.DiscardHandler), func() {}).fetch(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "101 Switching Protocols") {
		t.Errorf("another protocol: %v", err)
	}
	close(done)
	switches.Close()
	for name, body := range map[string]string{"no JSON": "<html>", "no list": `{}`, "a key in place of a list": `{"keys":{}}`, "another document": `{"issuer":"x"}`} {
		if set, err := readKeys([]byte(body)); err == nil {
			t.Errorf("%s: %v", name, set)
		}
	}
	for name, body := range map[string]string{
		"no keys": `{"keys":[]}`, "null": `{"keys":null}`, "a secret key": `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"a key for encryption": `{"keys":[{"kty":"EC","crv":"P-256","use":"enc","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`,
	} {
		if set, err := readKeys([]byte(body)); err != nil || len(set.Keys) > 0 {
			t.Errorf("%s: %v, %v", name, set, err)
		}
	}
	if set, err := readKeys([]byte(`{"keys":[{"kty":"new"},{"kty":"EC","crv":"P-256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`)); err != nil || len(set.Keys) != 1 {
		t.Errorf("a key of a kind that is not known hides another: %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	w := newWorld(f)
	good := w.key.sign(f, w.good())
	f.Add([]byte(good))
	f.Add([]byte(unsigned(f, `{"alg":"none"}`, w.good(), "")))
	f.Fuzz(func(t *testing.T, token []byte) {
		if c := w.Verify(t.Context(), token); c != nil && c.Name != "ci:build-7" {
			t.Errorf("%q is taken for %s", token, c.Name)
		}
	})
}

func TestABadFileLeavesTheOldRulesInForce(t *testing.T) {
	w := newWorld(t)
	w.run()
	token := w.key.sign(t, w.good())
	if w.verify(token) == nil {
		t.Fatal("refused")
	}
	w.write("issuer: [")
	w.until("the log tells of the bad file", func() bool { return strings.Contains(w.log.String(), "stay in force") })
	if w.Remembered([]byte(token)) == nil {
		t.Error("the old rules are gone")
	}
	w.Reload()
	w.until("the log tells again when asked", func() bool { return strings.Count(w.log.String(), "stay in force") == 2 })
	version := w.Version()
	w.write(w.file("another", "reader"))
	w.until("the new rules are in force", func() bool { return w.Version() != version })
	if w.Remembered([]byte(token)) != nil || w.verify(token) != nil {
		t.Error("a token is good for an audience that was taken out")
	}
}

func BenchmarkARememberedToken(b *testing.B) {
	w := newWorld(b)
	token := []byte(w.key.sign(b, w.good()))
	if w.verify(string(token)) == nil {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	for b.Loop() {
		if w.Remembered(token) == nil {
			b.Fatal("forgotten")
		}
	}
}
