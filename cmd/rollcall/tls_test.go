package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made int64
	ends time.Time // of the certificates that it issues
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), ends: time.Now().Add(time.Hour)}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) ca() string { return filepath.Join(a.dir, "ca.pem") }

// issue writes a certificate and its key under a name, over those that are there.
func (a *authority) issue(name string, uris ...string) (cert, key string) {
	a.t.Helper()
	a.made++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.made), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: a.ends,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, text := range uris {
		uri, err := url.Parse(text)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	private := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", keyDER)
}

// serial shows which certificate a server has.
func serial(t *testing.T, address string, config *tls.Config) *big.Int {
	t.Helper()
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber
}

func TestTheServerSpeaksTLS(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	cert, key := ours.issue("server")
	p := startServer(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key)
	if !strings.HasPrefix(p.url, "https://127.0.0.1:") {
		t.Fatalf("the server is at %s", p.url)
	}
	address := strings.TrimPrefix(p.url, "https://")
	if out, err := rollcall("register", "web/a", "--address", "10.0.0.5", "--ttl", "1h", "--url", p.url, "--ca", ours.ca()); err != nil || !strings.Contains(out, "created") {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"an unknown authority": {"--url", p.url},
		"another authority":    {"--url", p.url, "--ca", others.ca()},
		"plain HTTP":           {"--url", "http://" + address},
	} {
		out, err := rollcall(append([]string{"services"}, args...)...)
		if err == nil || exitCode(err) != exitFailed || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gave %v\n%s", name, err, out)
		}
		if name == "plain HTTP" && !strings.Contains(err.Error(), "it speaks https") {
			t.Errorf("%s gave %v", name, err)
		}
	}
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != 400 || !strings.Contains(string(body), "HTTPS") {
		t.Errorf("plain HTTP is answered with %d %q: %v", resp.StatusCode, body, err)
	}
	trusting, err := client.TLS(ours.ca(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	old := trusting.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if c, err := tls.Dial("tcp", address, old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}}
	resp, err = secure.Get(p.url + "/v1/services/web/instances")
	if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Fatalf("over HTTP/2: %v, %v", resp, err)
	}
	_ = resp.Body.Close()

	// A renewed certificate is used by the next connection; one that is broken is not, and the old one stays.
	before := serial(t, address, trusting)
	ours.issue("server")
	for deadline := time.Now().Add(10 * time.Second); serial(t, address, trusting).Cmp(before) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the renewed certificate is not used")
		}
	}
	renewed := serial(t, address, trusting)
	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if serial(t, address, trusting).Cmp(renewed) != 0 {
			t.Fatal("a broken certificate took the place of the good one")
		}
	}
}

func TestClientsMustShowACertificateWhereItIsRequired(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	cert, key := ours.issue("server")
	p := startServer(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours.ca(), "--tls-client-auth", "required")
	good, goodKey := ours.issue("client")
	bad, badKey := others.issue("client")
	if out, err := rollcall("services", "--url", p.url, "--ca", ours.ca(), "--cert", good, "--key", goodKey); err != nil {
		t.Errorf("a good certificate: %v\n%s", err, out)
	}
	for range 10 { // whether the client reads the reason or only fails to write is a matter of luck
		if _, err := rollcall("services", "--url", p.url, "--ca", ours.ca()); err == nil || !strings.Contains(err.Error(), "asks for a client certificate, and this client shows none") {
			t.Errorf("no certificate: %v", err)
		}
	}
	// The actor is the certificate's name also where access is not controlled.
	shown := []string{"--url", p.url, "--ca", ours.ca(), "--cert", good, "--key", goodKey}
	if out, err := rollcall(append([]string{"register", "web/a", "--address", "10.0.0.5"}, shown...)...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := rollcall(append([]string{"history", "web/a", "-o", "json"}, shown...)...); err != nil || !strings.Contains(out, `"actor":"cn:client"`) {
		t.Errorf("the actor is not the certificate's: %v\n%s", err, out)
	}
	if _, err := rollcall("services", "--url", p.url, "--ca", ours.ca(), "--cert", bad, "--key", badKey); err == nil || !strings.Contains(err.Error(), "of other authorities than this client's") {
		t.Errorf("a certificate of another authority: %v", err)
	}
	// A certificate that has ended is refused by the server alone.
	ours.ends = time.Now().Add(-time.Minute)
	ended, endedKey := ours.issue("ended")
	if _, err := rollcall("services", "--url", p.url, "--ca", ours.ca(), "--cert", ended, "--key", endedKey); err == nil || !strings.Contains(err.Error(), "may have refused this client's certificate") {
		t.Errorf("a certificate that has ended: %v", err)
	}
	// The socket in the data folder is for this machine, and plain.
	optional := startServer(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ours.ca(), "--tls-client-auth", "optional")
	if out, err := rollcall("services", "--url", optional.url, "--ca", ours.ca()); err != nil {
		t.Errorf("no certificate where it is optional: %v\n%s", err, out)
	}
	// A client of this library shows no certificate that the server does not ask for; others may.
	insists, err := client.TLS(ours.ca(), bad, badKey)
	if err != nil {
		t.Fatal(err)
	}
	pair := insists.Certificates[0]
	insists.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	for _, url := range []string{p.url, optional.url} {
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: insists}}).Get(url + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("a bad certificate is taken at %s", url)
		}
	}
}

func TestTLSSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	a := newAuthority(t, "ours")
	cert, key := a.issue("server")
	other, _ := a.issue("other")
	for _, args := range [][]string{
		{"--tls-cert", cert}, {"--tls-key", key}, {"--tls-client-ca", a.ca()}, {"--tls-cert", other, "--tls-key", key},
		{"--tls-cert", cert, "--tls-key", key, "--tls-client-auth", "required"}, {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", a.ca()},
		{"--tls-cert", cert, "--tls-key", key, "--tls-client-auth", "maybe"}, {"--tls-cert", filepath.Join(a.dir, "none"), "--tls-key", key},
		{"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", key, "--tls-client-auth", "required"},
	} {
		out, err := rollcall(append([]string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir()}, args...)...)
		if err == nil || exitCode(err) != exitUsage || strings.Contains(err.Error(), "\n") {
			t.Errorf("serve %v: %v\n%s", args, err, out)
		}
	}
}
