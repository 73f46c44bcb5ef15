package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// firstEvent is the first server-sent event of a stream that goes on after a position, "" if none comes soon.
func (p *process) firstEvent(path, after string) (id, name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 700*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", after)
	resp, err := transport.Do(r)
	if err != nil {
		return "", ""
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			return id, text
		}
	}
	return "", ""
}

// Whoever comes back to a restored registry with a position of what was not in the backup is told so; with one from
// before, goes on.
func TestARestoredRegistryTellsWhoComesFromTheLostFuture(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data)
	register := func(i int) {
		t.Helper()
		if status, b, err := p.send("PUT", fmt.Sprint("/v1/services/web/instances/i", i), `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	register(0)
	register(1)
	checkpoint := func(name string) string {
		t.Helper()
		status, b, err := p.send("GET", "/v1/checkpoint", "")
		if err != nil || status != 200 {
			t.Fatal(status, err)
		}
		file := filepath.Join(data, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	kept := checkpoint("kept")
	dir := filepath.Join(t.TempDir(), "backup")
	if out, err := rollcall("backup", dir, "--data", data); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	register(2)
	register(3)
	_, page, err := p.send("GET", "/v1/history?order=oldest&limit=3", "")
	if err != nil {
		t.Fatal(err)
	}
	_, cursor, _ := strings.Cut(string(page), `"next":"`)
	cursor, _, _ = strings.Cut(cursor, `"`)
	lost := checkpoint("lost")
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("it was not killed")
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	out, err := rollcall("restore", dir, "--data", fresh)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, timeline, _ := strings.Cut(out, "timeline ")
	timeline, _, _ = strings.Cut(timeline, " ")
	if out, err := rollcall("verify", "--data", fresh, "--checkpoint", kept); err != nil {
		t.Errorf("a checkpoint from before the backup: %v\n%s", err, out)
	}
	if _, err := rollcall("verify", "--data", fresh, "--checkpoint", lost); err == nil || !strings.Contains(err.Error(), "NOT VERIFIED: the checkpoint is of a future that this log does not have: a backup was restored") ||
		!strings.Contains(err.Error(), "after position 2 as timeline "+timeline+", so 2 of the checkpoint's 4 events are not in it") {
		t.Errorf("a checkpoint of the lost future: %v", err)
	}
	p = startServer(t, fresh)
	register(4) // takes the position 4 anew
	resp, err := transport.Get(p.url + "/v1/services/web/instances")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Get("Rollcall-Position"); got != "4-"+timeline {
		t.Errorf("the position is %q, want 4-%s", got, timeline)
	}
	if id, name := p.firstEvent("/v1/streams/services/web", "4"); name != "reset" || id != "4-"+timeline {
		t.Errorf("a subscriber of the lost future is sent %s with id %s", name, id)
	}
	if id, name := p.firstEvent("/v1/streams/services/web", "2"); name != "change" || id != "4-"+timeline {
		t.Errorf("a subscriber from before the backup is sent %s with id %s", name, id)
	}
	if id, name := p.firstEvent("/v1/streams/services/web", "4-"+timeline); name != "" {
		t.Errorf("a subscriber that has everything is sent %s with id %s", name, id)
	}
	if _, name := p.firstEvent("/v1/streams/catalog", "9-0123456789"); name != "reset" {
		t.Errorf("a subscriber of another registry is sent %s", name)
	}
	began := time.Now()
	if status, b, err := p.send("GET", "/v1/services/web/instances?index=4&wait=20s", ""); err != nil || status != 200 || time.Since(began) > 10*time.Second {
		t.Errorf("a long poll of the lost future is answered %d after %s: %v %s", status, time.Since(began), err, b)
	}
	began = time.Now()
	if status, b, err := p.send("GET", "/v1/services/web/instances?index=4-"+timeline+"&wait=300ms", ""); err != nil || status != 200 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("a long poll that has everything is answered %d after %s: %v %s", status, time.Since(began), err, b)
	}
	for _, path := range []string{
		"/v1/services/web/instances?after=4", "/v1/services/web/instances?after=3", "/v1/catalog?at=4", "/v1/diff?from=2&to=4", "/v1/history?from=4",
		"/v1/history?order=oldest&cursor=" + cursor, "/v1/events?from=4", "/v1/services/web/instances?after=1-0123456789",
	} {
		if status, b, err := p.send("GET", path, ""); err != nil || status != 410 || !strings.Contains(string(b), "urn:rollcall:problem:other-timeline") {
			t.Errorf("%s is answered %d, %v: %s", path, status, err, b)
		}
	}
	for _, path := range []string{"/v1/services/web/instances?after=2", "/v1/services/web/instances?after=4-" + timeline, "/v1/catalog?at=2", "/v1/diff?from=1&to=4-" + timeline} {
		if status, b, err := p.send("GET", path, ""); err != nil || status != 200 {
			t.Errorf("%s is answered %d, %v: %s", path, status, err, b)
		}
	}
	// A service's position does not go back with its last instance.
	for _, i := range []int{0, 1, 4} {
		if status, b, err := p.send("DELETE", fmt.Sprint("/v1/services/web/instances/i", i), ""); err != nil || status != 200 {
			t.Fatal(status, err, string(b))
		}
	}
	began = time.Now()
	status, b, err := p.send("GET", "/v1/services/web/instances?index=7-"+timeline+"&wait=300ms", "")
	if err != nil || status != 200 || !strings.Contains(string(b), `"position":"7-`+timeline) || time.Since(began) < 300*time.Millisecond {
		t.Errorf("a long poll on a service without instances is answered %d after %s: %v %s", status, time.Since(began), err, b)
	}
}
