package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// asked is what a node answers to a lookup with a token.
func (n *trioNode) asked(path, token string) (status int, body string, header http.Header, err error) {
	r, err := http.NewRequest("GET", "http://"+n.listen+path, nil)
	if err != nil {
		return 0, "", nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := transport.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, string(b), response.Header, err
}

// A token is revoked while a node is cut off. The node goes on to decide by its own copy, marks its answers as stale, and after
// --access-max-stale refuses all callers but those of its socket. Level again, it refuses the revoked token, and answers the others.
func TestANodeThatIsCutOffDecidesByItsCopyForAWhile(t *testing.T) {
	tortureLasts(t)
	const most = 10 * time.Second
	c, between := newLinkedTrio(t)
	ids := []string{"n1", "n2", "n3"}
	for _, n := range c.nodes {
		n.args = append(n.args, "--access", "on", "--access-max-stale", most.String())
	}
	c.start(ids...)
	command := func(args ...string) string {
		t.Helper()
		out, errs, code := run(t, nil, args...)
		if code != 0 {
			t.Fatalf("%v: %s%s", args, out, errs)
		}
		return out
	}
	at := func(id string) []string { return []string{"--data", c.nodes[id].data} }
	token := func(name, role string) string {
		return secret.FindString(command(append([]string{"token", "create", name, "--role", role}, at("n1")...)...))
	}
	revoked, good := token("leaked", "reader"), token("kept", "reader")
	command(append([]string{"register", "web/a", "--address", "10.0.0.1", "--ttl", "none"}, at("n1")...)...)
	const lookup = "/v1/services/web/instances"
	answers := func(id, token string, want int, contains string) {
		t.Helper()
		c.until(fmt.Sprintf("%s answers %d", id, want), func() error {
			status, body, _, err := c.nodes[id].asked(lookup, token)
			if err == nil && (status != want || !strings.Contains(body, contains)) {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
	}
	for _, id := range ids {
		answers(id, revoked, 200, `"a"`)
		answers(id, good, 200, `"a"`)
	}
	victim := "n3"
	stream := make(chan struct{}) // closed when the stream of the token that is revoked has ended
	r, err := http.NewRequest("GET", "http://"+c.nodes[victim].listen+"/v1/streams/catalog", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+revoked)
	response, err := http.DefaultClient.Do(r)
	if err != nil || response.StatusCode != 200 {
		t.Fatal(response, err)
	}
	go func() {
		defer close(stream)
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
	}()
	cut := time.Now()
	between.set(cuts["is cut off"](victim, ids))
	c.until("the token is revoked", func() error { // n3 may have led
		if out, errs, code := run(t, nil, append([]string{"token", "revoke", "leaked"}, at("n1")...)...); code != 0 {
			return fmt.Errorf("%s%s", out, errs)
		}
		return nil
	})
	answers("n1", revoked, 401, "unauthorized")
	answers("n2", revoked, 401, "unauthorized")
	read, marked := false, false
	for { // by its copy, until the time is over
		status, body, header, err := c.nodes[victim].asked(lookup, revoked)
		if err != nil {
			t.Fatal(err)
		}
		if status == 503 {
			if took := time.Since(cut); took < most-2*time.Second {
				t.Errorf("%s refused already after %s: %s", victim, took, body)
			}
			if !strings.Contains(body, "not-ready") || !strings.Contains(body, "--access-max-stale") {
				t.Errorf("%s refuses with %s", victim, body)
			}
			break
		}
		if status != 200 {
			t.Fatalf("%s answers %d %s", victim, status, body)
		}
		read = true
		marked = marked || strings.Contains(header.Get("Rollcall-Warning"), "stale")
		if time.Since(cut) > time.Minute {
			t.Fatalf("%s answers a revoked token after a minute", victim)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%s refused all after %s; it read by the copy: %v, and said that it was stale: %v", victim, time.Since(cut), read, marked)
	select {
	case <-stream:
	case <-time.After(time.Minute):
		t.Error("the stream of a token that was revoked goes on")
	}
	answers(victim, good, 503, "not-ready")
	answers(victim, "", 503, "not-ready")
	if out := command(append([]string{"services"}, at(victim)...)...); !strings.Contains(out, "web") {
		t.Errorf("the socket gives %s", out)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503} {
		if status, body, _, err := c.nodes[victim].asked(path, ""); err != nil || status != want {
			t.Errorf("%s: %d, %v, %s", path, status, err, body)
		}
	}
	answers("n1", good, 200, `"a"`)
	between.set(nil)
	answers(victim, good, 200, `"a"`)
	answers(victim, revoked, 401, "unauthorized")
}
