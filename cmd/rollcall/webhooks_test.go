package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A webhook that is made on the command line posts what happens, signed, goes on after the server was
// killed, and is managed with its history; a private target is refused unless it is allowed.
func TestWebhooksFromTheCommandLine(t *testing.T) {
	var mu sync.Mutex
	var got []string
	secret := ""
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		got = append(got, string(body))
	}))
	defer target.Close()
	data := t.TempDir()
	p := startServer(t, data)
	cli := func(args ...string) (string, error) { return rollcall(append(args, "--url", p.url)...) }
	if out, err := cli("webhooks", "create", target.URL); err == nil || !strings.Contains(err.Error(), "private") {
		t.Fatalf("a private target: %v\n%s", err, out)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p = startServer(t, data, "--webhook-allow-private")
	mu.Lock()
	out, err := cli("webhooks", "create", target.URL, "--service", "web", "--type", "InstanceRegistered")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`webhook (\S+) posts`).FindStringSubmatch(out)[1]
	secret = regexp.MustCompile(`whsec_\S+`).FindString(out)
	mu.Unlock()
	register := func(i int) {
		t.Helper()
		if status, b, err := p.send("PUT", fmt.Sprint("/v1/services/web/instances/i", i), `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	until := func(n int) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			mu.Lock()
			have := len(got)
			mu.Unlock()
			if have >= n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d events were posted, want %d", have, n)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	register(1)
	until(1)
	_ = p.end(syscall.SIGKILL)
	p = startServer(t, data, "--webhook-allow-private")
	register(2)
	until(2)                                            // or 3: the first may come again
	for _, step := range []struct{ args, want string }{ // in this order: a pause shows in the list
		{"webhooks list", "running"}, {"webhooks deliveries " + id, "delivered"}, {"webhooks pause " + id + " --reason noise", "pause done"},
		{"webhooks list", "paused: noise"}, {"webhooks history " + id, "webhook paused: noise"},
	} {
		if out, err := cli(strings.Fields(step.args)...); err != nil || !strings.Contains(out, step.want) {
			t.Errorf("%s: %v\n%s", step.args, err, out)
		}
	}
	if out, err := cli("webhooks", "delete", id); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := cli("webhooks", "resume", id); err == nil || exitCode(err) != exitNotFound {
		t.Errorf("a deleted webhook: %v", err)
	}
}
