package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// secured is a server with TLS, client certificates and a file of rules.
type secured struct {
	*process
	ours  *authority
	data  string
	rules string
}

const rulesOfCertificates = `
anonymous: { roles: [visitors], namespaces: [public] }
certificates:
  - spiffe: spiffe://prod.example/ns/{ns}/sa/{service}
    roles: [service]
    namespaces: ["{ns}"]
    services: ["{service}"]
  - common_name: "prom-*"
    roles: [reader]
`

func startSecured(t *testing.T) secured {
	t.Helper()
	s := secured{ours: newAuthority(t, "ours"), data: t.TempDir(), rules: filepath.Join(t.TempDir(), "access.yaml")}
	s.write(t, rulesOfCertificates)
	cert, key := s.ours.issue("server")
	s.process = startServer(t, s.data, "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", s.ours.ca(), "--tls-client-auth", "optional", "--access", "on", "--access-config", s.rules)
	return s
}

func (s secured) write(t *testing.T, content string) {
	t.Helper()
	if err := os.WriteFile(s.rules+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.rules+".new", s.rules); err != nil {
		t.Fatal(err)
	}
}

// client shows a certificate of an authority; without a name it shows none.
func (s secured) client(t *testing.T, by *authority, name string, uris ...string) *http.Client {
	t.Helper()
	var cert, key string
	if name != "" {
		cert, key = by.issue(name, uris...)
	}
	config, err := client.TLS(s.ours.ca(), cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
}

func (s secured) status(t *testing.T, c *http.Client, method, path, body string) (status int, reply string) {
	t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestACertificateBindsAWorkloadToItsService(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	checkout := s.client(t, s.ours, "checkout", "spiffe://prod.example/ns/default/sa/checkout")
	const instance = "/v1/services/checkout/instances/a"
	for _, c := range []struct {
		name         string
		as           *http.Client
		method, path string
		body         string
		want         int
	}{
		{"a workload registers itself", checkout, "PUT", instance, `{"address":"10.0.0.1","ttl":"1h"}`, 201},
		{"and with an owner of its own", checkout, "PUT", "/v1/services/checkout/instances/b", `{"address":"10.0.0.1","owner":"spiffe=~~prod.example~ns~default~sa~checkout:pod-7"}`, 201},
		{"but not with another's", checkout, "PUT", instance, `{"address":"10.0.0.1","owner":"billing"}`, 422},
		{"and renews", checkout, "PUT", instance + "/heartbeat", "", 200},
		{"and looks itself up", checkout, "GET", "/v1/services/checkout/instances", "", 200},
		{"it registers no other service", checkout, "PUT", "/v1/services/billing/instances/a", `{"address":"10.0.0.1"}`, 403},
		{"nor in another namespace", checkout, "PUT", instance + "?ns=shop", `{"address":"10.0.0.1"}`, 403},
		{"nor reads the history", checkout, "GET", "/v1/history", "", 403},
		{"a path that no rule has", s.client(t, s.ours, "x", "spiffe://prod.example/x"), "GET", "/v1/services/checkout/instances", "", 401},
		{"another trust domain", s.client(t, s.ours, "x", "spiffe://test.example/ns/default/sa/checkout"), "GET", "/v1/services/checkout/instances", "", 401},
		{"two SPIFFE ids", s.client(t, s.ours, "x", "spiffe://prod.example/ns/default/sa/checkout", "spiffe://prod.example/ns/default/sa/b"), "GET", "/v1/services/checkout/instances", "", 401},
		{"a SPIFFE id is not known by its subject", s.client(t, s.ours, "prom-1", "spiffe://prod.example/x"), "GET", "/metrics", "", 401},
		{"a subject", s.client(t, s.ours, "prom-1"), "GET", "/metrics", "", 200},
		{"a subject that no rule has", s.client(t, s.ours, "nobody"), "GET", "/metrics", "", 401},
		{"no certificate", s.client(t, nil, ""), "GET", "/v1/services/checkout/instances", "", 401},
	} {
		if got, body := s.status(t, c.as, c.method, c.path, c.body); got != c.want {
			t.Errorf("%s: %d, not %d: %s", c.name, got, c.want, body)
		}
	}
	// A certificate whose chain ends elsewhere gets no connection. The client shows it although the server names no authority of it.
	cert, key := newAuthority(t, "others").issue("x", "spiffe://prod.example/ns/default/sa/checkout")
	if out, errs, code := run(t, nil, "services", "--url", s.url, "--ca", s.ours.ca(), "--cert", cert, "--key", key); code == 0 {
		t.Errorf("another authority's certificate is taken: %s%s", out, errs)
	}
	s.runs(t)
	out, errs, code := run(t, nil, "token", "create", "audit", "--role", "auditor", "--data", s.data)
	if code != 0 {
		t.Fatal(errs)
	}
	history, errs, _ := run(t, []string{"ROLLCALL_TOKEN=" + secret.FindString(out)}, "history", "checkout/a", "-o", "json", "--url", s.url, "--ca", s.ours.ca())
	if !strings.Contains(history, `"actor":"spiffe://prod.example/ns/default/sa/checkout"`) {
		t.Errorf("the actor is not the workload: %s%s", history, errs)
	}
	if got, body := s.status(t, s.client(t, s.ours, "prom-2"), "GET", "/metrics", ""); got != 200 || !regexp.MustCompile(`rollcall_access_callers_total\{method="certificate",result="accepted"\} [1-9]`).MatchString(body) ||
		!regexp.MustCompile(`rollcall_http_lane_requests_total [1-9]`).MatchString(body) {
		t.Errorf("the metrics do not tell of certificates, or of heartbeats in the lane: %d", got)
	}
}

func TestAnonymousRightsFollowTheRoleAndTheFile(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	anyone := s.client(t, nil, "") // one connection throughout
	until := func(what string, want int, path string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			got, body := s.status(t, anyone, "GET", path, "")
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d, not %d: %s", what, got, want, body)
			}
		}
	}
	role := func(args ...string) {
		t.Helper()
		if _, errs, code := run(t, nil, append(append([]string{"role"}, args...), "--data", s.data)...); code != 0 {
			t.Fatal(errs)
		}
	}
	const catalog = "/v1/catalog?ns=public"
	until("the role does not exist", 401, catalog)
	role("set", "visitors", "--verb", "read-catalog")
	until("the role is made", 200, catalog)
	until("the file bounds it", 401, "/v1/catalog?ns=shop")
	role("set", "visitors", "--verb", "read-history")
	until("the role is another", 401, catalog)
	role("set", "visitors", "--verb", "read-catalog")
	until("the role is back", 200, catalog)
	s.write(t, "anonymous: { roles: [visitors], namespaces: [shop] }")
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("the file was changed", 401, catalog)
	until("it bounds the role to another namespace", 200, "/v1/catalog?ns=shop")
	s.write(t, "anonymous: [")
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	until("a bad file changes nothing", 200, "/v1/catalog?ns=shop")
	if _, errs, code := run(t, nil, "role", "remove", "visitors", "--data", s.data); code != exitFailed {
		t.Errorf("a role that the file names was removed (%d): %s", code, errs)
	}
	until("the role stays", 200, "/v1/catalog?ns=shop")
}

func TestRulesThatCannotBeUsedAreRefusedInALine(t *testing.T) {
	t.Parallel()
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "access.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, bad := file(rulesOfCertificates), file("issuers:\n  - nam: ci\n")
	claims, list := file(`{"sub":"job","project":"acme/checkout"}`), file(`[]`)
	ci := file("issuers: [{name: ci, url: 'https://ci.example', audiences: [a], rules: [{claims: {project: 'acme/{service}'}, roles: [writers], services: ['{service}']}]}]")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"access", "check", good}, 0, "rules for certificates: 2"},
		{[]string{"access", "check", good, "--certificate", "spiffe://prod.example/ns/shop/sa/checkout"}, 0, "service  shop        checkout  -"},
		{[]string{"access", "check", good, "--certificate", "cn:prom-1"}, 0, "reader"},
		{[]string{"access", "check", good, "--certificate", "cn:checkout"}, 0, "no rule fits"},
		{[]string{"access", "check", good, "--certificate", "checkout"}, exitFailed, "spiffe://"},
		{[]string{"access", "check", ci, "--claims", claims}, 0, "ci:job gets"},
		{[]string{"access", "check", ci, "--claims", claims, "--issuer", "other"}, exitFailed, "one of the file's: ci"},
		{[]string{"access", "check", ci, "--claims", list}, exitFailed, "JSON object"},
		{[]string{"access", "check", bad}, exitFailed, bad + ": line 2: field nam"},
		{[]string{"access", "check", good + "x"}, exitFailed, "no such file"},
		{[]string{"serve", "--access", "on", "--access-config", bad}, exitUsage, bad + ": line 2: field nam"},
		{[]string{"serve", "--access", "on", "--access-config", good + "x"}, exitUsage, "no such file"},
		{[]string{"serve", "--access-config", good}, exitUsage, "--access on"},
		{[]string{"serve", "--access", "on", "--access-config", good, "--anonymous-role", "reader"}, exitUsage, "anonymous"},
	} {
		if c.args[0] == "serve" {
			c.args = append(c.args, "--listen", "127.0.0.1:0", "--data", t.TempDir())
		}
		out, errs, code := run(t, nil, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) || strings.Count(errs, "\n") > 1 {
			t.Errorf("%v: exit code %d: %s", c.args, code, fmt.Sprint(out, errs))
		}
	}
}

// runs has rollcall run register a process as a workload that may write its own instances only.
func (s secured) runs(t *testing.T) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := s.ours.issue("run", "spiffe://prod.example/ns/default/sa/checkout")
	c := exec.Command(path, "run", "--url", s.url, "--ca", s.ours.ca(), "--cert", cert, "--key", key, "--service", "checkout", "--id", "run", "--address", "10.0.0.7",
		"--owner", "spiffe=~~prod.example~ns~default~sa~checkout", "--", "sleep", "600")
	says, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer late.Stop()
	told := ""
	for lines := bufio.NewScanner(says); lines.Scan(); {
		told += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "is registered") || strings.Contains(lines.Text(), "must") {
			_ = c.Process.Signal(os.Interrupt) // it ends, and so do its lines
		}
	}
	_ = c.Wait() // its exit code is the signal's
	if !strings.Contains(told, "default/checkout/run is registered (epoch 1)") {
		t.Errorf("run says\n%s", told)
	}
}
