package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// revoke writes a list of revoked certificates into a file.
func (a *authority) revoke(path string, plain bool, serials ...int64) {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, n := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	if !plain {
		der = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	}
	if err := os.WriteFile(path, der, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// A client whose certificate its authority revoked is refused, from soon after the list says so. Others are served, and a
// list that cannot be used changes nothing.
func TestARevokedCertificateIsRefused(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	cert, key := ours.issue("server") // serial number 2
	list := filepath.Join(t.TempDir(), "revoked")
	ours.revoke(list, false)
	good, goodKey := ours.issue("good")       // 3
	stolen, stolenKey := ours.issue("stolen") // 4
	p := startServer(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours.ca(), "--tls-client-auth", "optional", "--tls-client-crl", list)
	// Each client keeps sessions, which it may resume, and opens a connection for each request.
	sessions := map[string]tls.ClientSessionCache{good: tls.NewLRUClientSessionCache(8), stolen: tls.NewLRUClientSessionCache(8)}
	served := func(cert, key string) bool {
		t.Helper()
		config, err := client.TLS(ours.ca(), cert, key)
		if err != nil {
			t.Fatal(err)
		}
		config.ClientSessionCache = sessions[cert]
		resp, err := (&http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}).Get(p.url + "/v1/services")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	}
	becomes := func(want bool, cert, key string) {
		t.Helper()
		eventually(t, map[bool]string{true: "served", false: "refused"}[want], func() string { return map[bool]string{true: "served", false: "refused"}[served(cert, key)] })
	}
	if !served(good, goodKey) || !served(stolen, stolenKey) || !served("", "") {
		t.Fatal("a good certificate is refused")
	}
	ours.revoke(list, false, 4)
	becomes(false, stolen, stolenKey)
	if !served(good, goodKey) || !served("", "") {
		t.Error("a certificate that is not revoked is refused, or a client without")
	}
	others.revoke(list, false, 3, 4) // an authority of nobody's
	for began := time.Now(); !strings.Contains(p.logs.String(), "cannot be used"); time.Sleep(50 * time.Millisecond) {
		if !served(good, goodKey) || time.Since(began) > time.Minute { // a connection has the server look
			t.Fatalf("the server does not tell of a list that it cannot use:\n%s", p.logs)
		}
	}
	if served(stolen, stolenKey) || !served(good, goodKey) {
		t.Error("a list of another authority is taken")
	}
	ours.revoke(list, true, 3, 4) // DER
	becomes(false, good, goodKey)
	ours.revoke(list, false)
	becomes(true, good, goodKey)
	becomes(true, stolen, stolenKey)
	for name, args := range map[string][]string{
		"without a client CA": {"--tls-cert", cert, "--tls-key", key, "--tls-client-crl", list},
		"no list":             {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours.ca(), "--tls-client-auth", "required", "--tls-client-crl", cert},
		"no file":             {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours.ca(), "--tls-client-auth", "required", "--tls-client-crl", list + "x"},
	} {
		if _, errs, code := run(t, nil, append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, args...)...); code == 0 || !strings.Contains(strings.ToLower(errs), "crl") {
			t.Errorf("%s: exit code %d: %s", name, code, errs)
		}
	}
}
