package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// get is the body of a reply of the agent.
func (a *hostAgent) get(path string) string {
	a.t.Helper()
	resp, err := transport.Get(a.url + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		a.t.Fatalf("%s: %s, %v: %s", path, resp.Status, err, b)
	}
	return string(b)
}

func TestAnAgentAnswersDNSWhileTheRegistryIsAway(t *testing.T) {
	needs(t, "dig")
	n := startNamed(t)
	path := startRelay(t, strings.TrimPrefix(n.url, "http://"))
	register := func(instance, address, ns string) {
		n.do("register", instance, "--address", address, "--port", "http=8080", "--ttl", "1h", "--ns", ns)
	}
	register("Web/a1", "127.0.0.2", "default")
	register("web/a2", "127.0.0.3", "default")
	register("pay/p1", "127.0.0.4", "prod")
	folder, state := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "shop.yaml"), []byte("service: shop\nports: {http: 80}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WATCHDOG_USEC", "400000")
	args := []string{folder, "--data", state, "--dns-listen", "127.0.0.1:0", "--dns-ttl", "0s", "--dns-zone", "test"}
	a := startAgent(t, path.url(), args...)
	address := a.logged("dns is answered").Address
	a.tells("WATCHDOG=1")
	a.tells("WATCHDOG=1")

	answers := func() bool {
		return dig(t, address, "+short", "WEB.service.test") == "127.0.0.2\n127.0.0.3" && dig(t, address, "+short", "+tcp", "pay.service.prod.test") == "127.0.0.4" &&
			strings.Contains(dig(t, address, "+short", "_http._tcp.pay.service.prod.test", "SRV"), "1 100 8080 p1.pay.node.prod.test.") &&
			dig(t, address, "+short", "-x", "127.0.0.4") == "p1.pay.node.prod.test."
	}
	a.until("the agent does not answer as the registry does", answers)
	a.until("the agent does not answer for its own instances", func() bool { return dig(t, address, "+short", "shop.service.test") == "127.0.0.1" })
	if out := dig(t, address, "web.service.consul"); !strings.Contains(out, "REFUSED") {
		t.Errorf("another zone: %s", out)
	}
	if out := dig(t, address, "none.service.test"); !strings.Contains(out, "NXDOMAIN") {
		t.Errorf("a service that is not there: %s", out)
	}
	if body := a.get("/v1/services?ns=*"); !strings.Contains(body, `"service":"pay","instances":1,"ready":1`) {
		t.Errorf("the services are %s", body)
	}
	if body := a.get("/metrics"); !strings.Contains(body, "rollcall_agent_stale 0\n") || !strings.Contains(body, `rollcall_dns_answer_seconds_count{rcode="NOERROR",type="SRV"} `) {
		t.Errorf("the metrics are %s", body)
	}

	if err := n.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-n.done
	a.until("the agent does not notice", func() bool { return strings.Contains(a.get("/metrics"), "rollcall_agent_stale 1\n") })
	if !answers() {
		t.Error("the agent does not answer while the registry is away")
	}
	a.end()
	a = startAgent(t, path.url(), args...)
	address = a.logged("dns is answered").Address
	if !answers() {
		t.Errorf("the agent does not answer from its cache\n%s", a.said)
	}
	if a.logged("the registry's stream is lost; lookups are answered from the cache").Msg == "" {
		t.Errorf("the agent does not say that it answers from its cache:\n%s", a.said)
	}

	n.process = startServer(t, n.data)
	path.setTarget(strings.TrimPrefix(n.url, "http://"))
	n.do("deregister", "web/a2")
	register("web/a3", "127.0.0.5", "default")
	a.until("the agent does not follow the registry again", func() bool { return dig(t, address, "+short", "web.service.test") == "127.0.0.2\n127.0.0.5" })
	a.until("the cache stays stale", func() bool { return strings.Contains(a.get("/metrics"), "rollcall_agent_stale 0\n") })
	a.end()
}

// Without a registry and without a cache, nothing is known, and an empty answer would be wrong.
func TestAnAgentThatKnowsNothingGivesNoAnswer(t *testing.T) {
	needs(t, "dig")
	a := startAgent(t, "http://127.0.0.1:1", t.TempDir(), "--dns-listen", "127.0.0.1:0")
	if out := dig(t, a.logged("dns is answered").Address, "web.service.rollcall"); !strings.Contains(out, "SERVFAIL") {
		t.Errorf("without a cache: %s", out)
	}
	if body := a.get("/metrics"); !strings.Contains(body, "rollcall_agent_cache_age_seconds +Inf") {
		t.Errorf("the metrics are %s", body)
	}
	a.end()
}
