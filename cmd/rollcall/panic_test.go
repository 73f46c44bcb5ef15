package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

// addressOf is the address that a line of a server's log names.
func (p *process) addressOf(message string) string {
	p.t.Helper()
	for line := range strings.Lines(p.logs.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			return entry.Address
		}
	}
	p.t.Fatalf("the server does not say %q", message)
	return ""
}

// counted gets a reply, and counts a text in it.
func counted(t *testing.T, url, text string) (n int, header http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", url, resp.Status, err, b)
	}
	return strings.Count(string(b), text), resp.Header
}

// One policy decides it, and every face of the registry, the client and the agent give all instances, and say so.
func TestEveryFaceGivesAllInstancesOfAServiceThatPanics(t *testing.T) {
	p := startServer(t, t.TempDir(), "--dns-listen", "127.0.0.1:0", "--consul-listen", "127.0.0.1:0")
	named, consul := p.addressOf("dns is answered"), p.addressOf("consul's API is spoken")
	env := []string{"ROLLCALL_URL=" + p.url}
	do := func(args ...string) string {
		t.Helper()
		out, errs, code := run(t, env, args...)
		if code != 0 {
			t.Fatalf("%v gave %d: %s", args, code, errs)
		}
		return out + errs
	}
	for i := range 4 {
		do("register", fmt.Sprintf("web/w-%d", i), "--address", fmt.Sprintf("127.0.0.%d", i+2), "--port", "http=80", "--ttl", "1h")
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "none.yaml"), []byte("service: other\nports: {http: 80}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := startAgent(t, p.url, folder, "--data", t.TempDir(), "--dns-listen", "127.0.0.1:0", "--dns-ttl", "0s")
	registry, err := client.New(p.url, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	w := watch.Start(ctx, registry, watch.Options{})
	defer func() { end(); <-w.Done() }()
	service, err := w.Service(domain.ServiceKey{Service: "web"})
	if err != nil {
		t.Fatal(err)
	}
	balancer := pick.New(pick.Options{})
	service.Listen(balancer.Update)
	follows := startStream(t, p.url+"/v1/streams/services/web?ready=true")

	resolved := func(address string) int {
		var question dns.Msg
		question.SetQuestion("web.service.consul.", dns.TypeA)
		reply, _, err := (&dns.Client{Timeout: 30 * time.Second}).Exchange(&question, address)
		if err != nil {
			t.Fatal(err)
		}
		return len(reply.Answer)
	}
	given := func(want int, policy string) {
		t.Helper()
		for name, url := range map[string]string{
			"a lookup":   p.url + "/v1/services/web/instances?ready=true",
			"a page":     p.url + "/v1/services/web/instances?ready=true&limit=9",
			"leases":     p.url + "/v1/services/web/instances?ready=true&leases=true",
			"everything": p.url + "/v1/catalog?ready=true",
			"Prometheus": p.url + "/v1/sd/prometheus?ready=true&service=web",
			"Consul":     "http://" + consul + "/v1/health/service/web?passing",
		} {
			n, header := counted(t, url, `"127.0.0.`)
			if name == "Prometheus" {
				n, _ = counted(t, url, `"targets":`)
			}
			if name == "everything" { // the agent's own instance is there, too
				n, _ = counted(t, url, `"id":"w-`)
			}
			if name == "Consul" {
				n, _ = counted(t, url, `"Checks":`)
			}
			if n != want || header.Get("Rollcall-Panic") != policy {
				t.Errorf("%s gives %d instances by %q, want %d by %q", name, n, header.Get("Rollcall-Panic"), want, policy)
			}
		}
		if n := resolved(named); n != want {
			t.Errorf("DNS gives %d, want %d", n, want)
		}
		eventually(t, fmt.Sprintf("the client picks of %d, the agent gives %d, by DNS %d", want, want, want), func() string {
			agents := strings.Count(host.get("/v1/services/web/instances?ready=true"), `"id":"w-`)
			return fmt.Sprintf("the client picks of %d, the agent gives %d, by DNS %d", balancer.Len(), agents, resolved(host.logged("dns is answered").Address))
		})
		if said := strings.Contains(host.get("/v1/services/web/instances?ready=true"), `"panic":{"policy":"half"`); said != (policy != "") {
			t.Errorf("the agent says %v", said)
		}
		if n, _ := counted(t, p.url+"/metrics", `rollcall_panic_ready_share{namespace="default",policy="half",service="web"} 0.25`); n == 1 != (policy != "") {
			t.Errorf("the metrics have %d", n)
		}
	}
	given(4, "")
	report := func(id, status string) {
		t.Helper()
		if code, body, err := p.send(http.MethodPut, "/v1/services/web/instances/"+id+"/health", `{"status":"`+status+`"}`); code != http.StatusOK {
			t.Fatalf("%d %s, %v", code, body, err)
		}
	}
	for i := range 3 {
		report(fmt.Sprintf("w-%d", i), "critical")
	}
	given(1, "")
	if out := do("policy", "set", "half", "--service", "web", "--panic-threshold", "50%"); !strings.Contains(out, "note: default/web has 1 of 4 instances ready, fewer than 50%: lookups of ready instances give all") {
		t.Errorf("it says %q", out)
	}
	given(4, "half")
	follows.until(`event: panic`, `"services":[{"namespace":"default","service":"web","policy":"half","threshold":"50%","ready":1,"instances":4}]`)
	follows.until(`event: reset`, `"panic":{"policy":"half"`)
	if out := do("get", "instances", "web", "--ready"); !strings.Contains(out, "w-0") || !strings.Contains(out, "panic: all instances are given, ready or not: 1 of 4 instances of default/web are ready, fewer than the 50% of policy half") {
		t.Errorf("the command line says %q", out)
	}
	if out := do("get", "services"); !strings.Contains(out, "1 (panic)") {
		t.Errorf("the list of services says %q", out)
	}
	report("w-0", "passing")
	given(2, "")
	follows.until(`event: panic`, `"services":[]`)
	follows.until(`event: reset`, `"w-3"`)
	do("drain", "web/w-3") // counts as not ready
	given(4, "half")
	do("policy", "remove", "half")
	given(1, "")
	if out := do("history", "-A", "--type", "PolicySet"); !strings.Contains(out, "policy half for default/web: panic_threshold 50%") {
		t.Errorf("the history says %q", out)
	}
}

// sseLines are the lines of a stream.
type sseLines struct {
	t     *testing.T
	lines chan string // closed when the stream ends
}

func startStream(t *testing.T, url string) *sseLines {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	s := &sseLines{t, make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		defer resp.Body.Close()
		for all := bufio.NewScanner(resp.Body); all.Scan(); {
			s.lines <- all.Text()
		}
	}()
	t.Cleanup(func() {
		end()
		for range s.lines {
		}
	})
	return s
}

// until waits for a line with a text, and for another one behind it.
func (s *sseLines) until(texts ...string) {
	s.t.Helper()
	timeout := time.After(time.Minute)
	for _, text := range texts {
		for found := false; !found; {
			select {
			case line, ok := <-s.lines:
				if !ok {
					s.t.Fatalf("the stream ended before %q", text)
				}
				found = strings.Contains(line, text)
			case <-timeout:
				s.t.Fatalf("the stream does not say %q", text)
			}
		}
	}
}
