package main

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/esdbstore/esdbtest"
)

// A stolen token is revoked on one node, and refused on the other within a second; what is under way there with the token
// ends without another word of the catalog.
func TestARevokedTokenIsRefusedOnTheOtherNodeWithinASecond(t *testing.T) {
	t.Parallel()
	store, err := esdbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Stop)
	data := t.TempDir()
	one := startServer(t, data, "--store", store.ConnectionString(), "--access", "on")
	other := startServer(t, t.TempDir(), "--store", store.ConnectionString(), "--access", "on")
	must := func(args ...string) string {
		t.Helper()
		out, errs, code := run(t, nil, append(args, "--data", data)...)
		if code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	create := func(name, role string) string {
		t.Helper()
		return secret.FindString(must("token", "create", name, "--role", role))
	}
	stolen, root := create("stolen", "operator"), create("root", "admin")
	ask := func(p *process, token, method, path, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := transport.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	status := func(p *process, token, method, path, body string) int {
		t.Helper()
		resp := ask(p, token, method, path, body)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for end := time.Now().Add(10 * time.Second); status(other, stolen, "GET", "/v1/services", "") != 200; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the other node does not know the token")
		}
	}
	const beat = "/v1/services/web/instances/a/heartbeat"
	if got := status(one, root, "PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`); got != 201 {
		t.Fatalf("a registration gives %d", got)
	}
	for end := time.Now().Add(10 * time.Second); status(other, stolen, "PUT", beat, "") != 200 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	ended := map[string]chan string{} // gets what came after the token was revoked
	for _, path := range []string{"/v1/streams/catalog", "/v1/streams/services/web", "/v1/streams/events", "/v1/events?follow=true"} {
		resp := ask(other, stolen, "GET", path, "")
		if resp.StatusCode != 200 {
			t.Fatalf("%s gives %s", path, resp.Status)
		}
		got := make(chan string, 1) // gets one text
		ended[path] = got
		go func() {
			defer resp.Body.Close()
			var all strings.Builder
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				all.WriteString(lines.Text())
			}
			got <- all.String()
		}()
	}
	must("token", "revoke", "stolen", "--reason", "stolen")
	revoked := time.Now()
	for status(other, stolen, "PUT", beat, "") != 401 {
		if time.Since(revoked) > 10*time.Second {
			t.Fatal("the other node goes on taking the token")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(revoked); took > time.Second {
		t.Errorf("the other node refuses the token after %s", took)
	}
	if got := status(one, stolen, "GET", "/v1/services", ""); got != 401 {
		t.Errorf("the first node gives %d", got)
	}
	if got := status(one, root, "PUT", "/v1/services/web/instances/late", `{"address":"10.0.0.1"}`); got != 201 {
		t.Fatalf("a registration gives %d", got)
	}
	for path, got := range ended {
		select {
		case text := <-got:
			if strings.Contains(text, "late") {
				t.Errorf("%s tells of what came later: %s", path, text)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s does not end", path)
		}
	}
}
