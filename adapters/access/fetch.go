package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// What is read from an issuer at most.
const (
	maxReply = 1 << 20 // bytes of an answer
	maxKeys  = 128     // with which tokens may be signed
)

// get asks the issuer where its keys are and where people sign in, and then for the keys.
func (k *keys) get(ctx context.Context) (*jose.JSONWebKeySet, *endpoints, error) {
	client, err := k.client()
	if err != nil {
		return nil, nil, err
	}
	defer client.CloseIdleConnections()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), k.issuer.URL)
	if err != nil {
		return nil, nil, err
	}
	var where struct {
		Keys          string `json:"jwks_uri"`
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
	}
	if err := provider.Claims(&where); err != nil {
		return nil, nil, err
	}
	keys, err := getKeys(ctx, client, where.Keys)
	return keys, &endpoints{usable(where.Authorization), usable(where.Token)}, err
}

func getKeys(ctx context.Context, client *http.Client, address string) (*jose.JSONWebKeySet, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	reply, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, reply.Status)
	}
	return readKeys(body)
}

// readKeys reads the public keys with which tokens may be signed. Others are left out, also those that cannot be read. An issuer that
// lists none has withdrawn the keys that it had.
func readKeys(body []byte) (*jose.JSONWebKeySet, error) {
	var set struct {
		Keys json.RawMessage `json:"keys"`
	}
	var listed []json.RawMessage
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("the issuer's keys: %w", err)
	}
	if err := json.Unmarshal(set.Keys, &listed); err != nil { // null is a list of none, as Go's own issuers write it
		return nil, fmt.Errorf("the issuer's keys: the answer has no list of keys: %w", err)
	}
	usable := &jose.JSONWebKeySet{}
	for _, raw := range listed {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig") {
			usable.Keys = append(usable.Keys, key)
		}
	}
	return usable, nil
}

// client is for one fetch: files may have changed since the last one.
func (k *keys) client() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if k.issuer.CA != "" {
		pool, err := authorities(k.issuer.CA)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	careful := &carefulTransport{next: transport}
	if k.issuer.TokenFile != "" {
		token, err := durable.ReadAtMost(k.issuer.TokenFile, maxFile)
		if err != nil {
			return nil, err
		}
		careful.authorization, careful.host = "Bearer "+strings.TrimSpace(string(token)), hostOf(k.issuer.URL)
	}
	return &http.Client{Transport: careful}, nil
}

// carefulTransport asks no server whose answer others could change, reads no endless answer, and shows the token to the
// issuer's host only.
type carefulTransport struct {
	next                *http.Transport
	authorization, host string
}

// RoundTrip implements http.RoundTripper.
func (t *carefulTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) {
		return nil, fmt.Errorf("%s is not asked: it is not https", r.URL)
	}
	if t.authorization != "" && r.URL.Host == t.host && r.URL.Scheme == "https" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", t.authorization)
	}
	reply, err := t.next.RoundTrip(r)
	if err == nil {
		client.NoUpgrade(reply)
		reply.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(reply.Body, maxReply), reply.Body}
	}
	return reply, err
}

// CloseIdleConnections lets http.Client close them.
func (t *carefulTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

func authorities(path string) (*x509.CertPool, error) {
	pem, err := durable.ReadRegular(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
