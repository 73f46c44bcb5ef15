package oidctest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// account is a client of the provider, which gets tokens with its own secret.
type account struct {
	subject  string
	audience string
	claims   map[string]any
	lifetime time.Duration // 0: 5 minutes
	behind   time.Duration // how far the provider's clock is behind, for this account
}

// provider is an OpenID provider with TLS, whose accounts and keys the test chooses.
type provider struct {
	*storage.Storage
	t      *testing.T
	server *httptest.Server
	ca     string // file

	mu       sync.Mutex
	redirect string // of the web UI's page, where people sign in
	accounts map[string]account
	keys     []key // the last one signs
}

// key implements op.SigningKey and op.Key.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func (k key) ID() string                                  { return k.id }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k key) Key() any                                    { return k.private }

type published struct{ key }

func (p published) Algorithm() jose.SignatureAlgorithm { return p.algorithm }
func (p published) Use() string                        { return "sig" }
func (p published) Key() any                           { return p.private.Public() }

func newRSA(t *testing.T, id string) key {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, jose.RS256, private}
}

func newEC(t *testing.T, id string) key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, jose.ES256, private}
}

func startProvider(t *testing.T, accounts map[string]account) *provider {
	t.Helper()
	p := &provider{t: t, accounts: accounts, keys: []key{newRSA(t, "first")}}
	var handler http.Handler
	p.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(p.server.Close)
	p.Storage = storage.NewStorage(storage.NewUserStore(p.server.URL))
	var err error
	made, err := op.NewProvider(&op.Config{CryptoKeyId: "for its own cookies", CodeMethodS256: true}, p, op.StaticIssuer(p.server.URL), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	handler = p.withLogin(made)
	p.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(p.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *provider) account(id string) (account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.accounts[id]
	if !ok {
		return a, fmt.Errorf("there is no account %q", id)
	}
	return a, nil
}

// publish makes these the provider's keys; the last one signs.
func (p *provider) publish(keys ...key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *provider) signing() key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[len(p.keys)-1]
}

// SigningKey implements op.Storage.
func (p *provider) SigningKey(context.Context) (op.SigningKey, error) { return p.signing(), nil }

// SignatureAlgorithms implements op.Storage.
func (p *provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{p.signing().algorithm}, nil
}

// KeySet implements op.Storage.
func (p *provider) KeySet(context.Context) (all []op.Key, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		all = append(all, published{k})
	}
	return all, nil
}

// client is an account as the provider sees it: it gets tokens that are JWTs.
type client struct {
	op.Client
	id     string
	behind time.Duration
}

func (c client) GetID() string                       { return c.id }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c client) ClockSkew() time.Duration            { return c.behind }

// ClientCredentials implements op.ClientCredentialsStorage.
func (p *provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	a, err := p.account(id)
	if err != nil {
		return nil, err
	}
	model, err := p.Storage.ClientCredentials(ctx, "sid1", secret)
	return client{model, id, a.behind}, err
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (p *provider) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	a, err := p.account(id)
	return request{&oidc.JWTTokenRequest{Subject: a.subject, Audience: oidc.Audience{a.audience}, Scopes: scopes}, a}, err
}

type request struct {
	*oidc.JWTTokenRequest
	account account
}

// CreateAccessToken implements op.Storage.
func (p *provider) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	ours, ok := r.(request)
	if !ok { // of a person who signed in
		return p.Storage.CreateAccessToken(ctx, r)
	}
	lifetime := ours.account.lifetime
	if lifetime == 0 {
		lifetime = 5 * time.Minute
	}
	return rand.Text(), time.Now().Add(lifetime), nil
}

// GetPrivateClaimsFromScopes implements op.Storage.
func (p *provider) GetPrivateClaimsFromScopes(_ context.Context, _, id string, _ []string) (map[string]any, error) {
	a, err := p.account(id)
	return a.claims, err
}

// token asks the provider for a token, as any program does.
func (p *provider) token(id string) string {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {"verysecret"}}
	reply, err := p.server.Client().PostForm(p.server.URL+"/oauth/token", form)
	if err != nil {
		p.t.Fatal(err)
	}
	defer reply.Body.Close()
	var got struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(reply.Body).Decode(&got); err != nil || got.Token == "" {
		p.t.Fatalf("the provider gives %s no token: %s %s %v", id, reply.Status, got.Error, err)
	}
	return got.Token
}
