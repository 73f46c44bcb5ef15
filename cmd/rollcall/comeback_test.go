package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lostFuture makes a registry with the instances web/i0 and web/i1 at the positions 1 and 2, a backup, and two more events
// that the backup does not have; before is called ahead of the kill. The registry that is restored from the backup has
// the beginning of its timeline at 3 and web/i4 at 4.
func lostFuture(t *testing.T, args []string, before func(p *process)) (p *process, timeline string) {
	t.Helper()
	data := t.TempDir()
	p = startServer(t, data, args...)
	register := func(i int) {
		t.Helper()
		if status, b, err := p.send("PUT", fmt.Sprint("/v1/services/web/instances/i", i), fmt.Sprintf(`{"address":"10.0.0.%d","ttl":"1h"}`, i)); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	register(0)
	register(1)
	dir := filepath.Join(t.TempDir(), "backup")
	if out, err := rollcall("backup", dir, "--data", data); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	register(2)
	register(3)
	before(p)
	_ = p.end(syscall.SIGKILL)
	fresh := filepath.Join(t.TempDir(), "fresh")
	out, err := rollcall("restore", dir, "--data", fresh)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, timeline, _ = strings.Cut(out, "timeline ")
	timeline, _, _ = strings.Cut(timeline, " ")
	p = startServer(t, fresh, append(args, "--listen", strings.TrimPrefix(p.url, "http://"))...)
	register(4)
	return p, timeline
}

// Every route that takes a position knows one of the shared past and one of its own timeline, and tells all others apart.
func TestEveryRouteKnowsWhosePositionItIsGiven(t *testing.T) {
	p, timeline := lostFuture(t, nil, func(*process) {})
	status, b, err := p.send("POST", "/v1/webhooks", `{"url":"https://example.com/hook","from":"2"}`)
	_, hook, _ := strings.Cut(string(b), `"id":"`)
	hook, _, _ = strings.Cut(hook, `"`)
	if err != nil || status != 201 || !strings.Contains(string(b), `"after":"1"`) {
		t.Fatal(status, err, string(b))
	}
	own := "4-" + timeline
	positions := []string{"2", own, "4", "1-0123456789", "4-", "x", "-1", "4-ABC"}
	const known, other = 2, 4  // positions before this index
	routes := map[string]int{} // the status where the position is known
	for _, path := range []string{
		"/v1/services?after=", "/v1/services?at=", "/v1/services/web?after=", "/v1/services/web?at=", "/v1/services/web/instances?after=", "/v1/services/web/instances?at=",
		"/v1/services/web/instances/i1?after=", "/v1/services/web/instances/i1?at=", "/v1/catalog?after=", "/v1/catalog?at=", "/v1/diff?to=now&from=", "/v1/diff?from=1&to=",
		"/v1/diff?from=1&to=2&after=", "/v1/history?from=", "/v1/history?to=", "/v1/history?after=", "/v1/services/web/history?from=", "/v1/services/web/instances/i0/history?to=",
		"/v1/webhooks/" + hook + "/history?from=", "/v1/events?from=", "/v1/events?to=", "/v1/events?after=", "/v1/preservation?after=",
	} {
		routes["GET "+path] = 200
	}
	routes["POST /v1/webhooks from"], routes["POST /v1/webhooks/"+hook+"/replay from"] = 201, 200
	for route, ok := range routes {
		method, path, _ := strings.Cut(route, " ")
		for i, position := range positions {
			body, at := "", path+position
			if method == "POST" {
				at, _, _ = strings.Cut(path, " ")
				body = fmt.Sprintf(`{"url":"https://example.com/hook","from":%q}`, position)
				if strings.HasSuffix(at, "/replay") {
					body = fmt.Sprintf(`{"from":%q}`, position)
				}
			}
			status, b, err := p.send(method, at, body)
			want, problem := ok, ""
			switch {
			case i >= other:
				want, problem = 422, `"urn:rollcall:problem:invalid-field"`
			case i >= known:
				want, problem = 410, `"urn:rollcall:problem:other-timeline"`
			}
			if err != nil || status != want || !strings.Contains(string(b), problem) {
				t.Errorf("%s %s %s is answered %d, %v, want %d: %s", method, at, body, status, err, want, b)
			}
			if fork := strings.Contains(string(b), `"fork":"2"`); want == 410 && fork != (position == "4") {
				t.Errorf("%s: the problem of %s names a fork: %v", route, position, fork)
			}
		}
	}
	for _, path := range []string{"/v1/services?", "/v1/services/web?", "/v1/services/web/instances?"} {
		for i, position := range positions {
			began := time.Now()
			status, b, err := p.send("GET", path+"wait=300ms&index="+position, "")
			waited, want := time.Since(began) >= 300*time.Millisecond, 200
			if i >= other {
				want = 422
			}
			if err != nil || status != want || waited != (position == own) {
				t.Errorf("a long poll of %sindex=%s is answered %d, %v, after %s: %s", path, position, status, err, time.Since(began), b)
			}
		}
	}
	for position, want := range map[string]string{"2": "change", own: "", "4": "reset", "1-0123456789": "reset", "99-" + timeline: "reset"} {
		for _, path := range []string{"/v1/streams/services/web", "/v1/streams/catalog"} {
			if id, name := p.firstEvent(path, position); name != want || name != "" && id != own {
				t.Errorf("%s after %s begins with %s, id %s, want %s", path, position, name, id, want)
			}
		}
	}
	if id, name := p.firstEvent("/v1/streams/events", "2"); name != "event" || id != "3-"+timeline {
		t.Errorf("events after 2 begin with %s, id %s", name, id)
	}
	for i, position := range positions[known:] {
		want := 410
		if i >= other-known {
			want = 422
		}
		if status, b, err := p.send("GET", "/v1/streams/events?from="+position, ""); err != nil || status != want {
			t.Errorf("events from %s are answered %d, %v: %s", position, status, err, b)
		}
	}
	// An event has one position, on whichever timeline it is asked for.
	_, lines, err := p.send("GET", "/v1/events?to="+own, "")
	if err != nil || !strings.Contains(string(lines), `{"position":"2","id"`) || !strings.Contains(string(lines), `{"position":"4-`+timeline+`","id"`) {
		t.Errorf("lines of events are %s, %v", lines, err)
	}
	_, lines, err = p.send("GET", "/v1/events?format=cloudevents&to="+own, "")
	if err != nil || !strings.Contains(string(lines), `"position":"2"`) || !strings.Contains(string(lines), `"position":"4-`+timeline+`"`) {
		t.Errorf("CloudEvents are %s, %v", lines, err)
	}
}

// An export that has lines of the lost future is not completed with lines of another one.
func TestAnExportOfTheLostFutureIsRefused(t *testing.T) {
	dir := t.TempDir()
	file, early := filepath.Join(dir, "events"), filepath.Join(dir, "early")
	p, timeline := lostFuture(t, nil, func(p *process) {
		for _, args := range [][]string{{file}, {early, "--to", "2"}} {
			if out, err := rollcall(append([]string{"events", "export", "--url", p.url}, args...)...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	})
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = rollcall("events", "export", file, "--url", p.url)
	if err == nil || exitCode(err) != exitFailed || !strings.Contains(err.Error(), "ends with an event at position 4 that the registry does not have any more: a backup was restored") ||
		!strings.Contains(err.Error(), "remove its lines behind position 2") {
		t.Errorf("the lost future: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != string(was) {
		t.Errorf("the file became %s, %v", b, err)
	}
	for range 2 { // from before the backup, and again on the new timeline
		if out, err := rollcall("events", "export", early, "--url", p.url); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if b, err := os.ReadFile(early); err != nil || strings.Count(string(b), "\n") != 4 || !strings.Contains(string(b), `{"position":"4-`+timeline+`"`) {
		t.Errorf("the export that went on is %s, %v", b, err)
	}
}

// A checkpoint tells a restore from tampering to whoever asks the running registry, too, and stands on either side of
// the fork.
func TestARunningRegistryTellsARestoreFromTampering(t *testing.T) {
	dir := t.TempDir()
	keep := func(p *process, name string) string {
		t.Helper()
		status, b, err := p.send("GET", "/v1/checkpoint", "")
		file := filepath.Join(dir, name)
		if err != nil || status != 200 || os.WriteFile(file, b, 0o600) != nil {
			t.Fatal(status, err)
		}
		return file
	}
	var lost string
	p, timeline := lostFuture(t, nil, func(p *process) { lost = keep(p, "lost") })
	if _, err := rollcall("verify", "--url", p.url, "--checkpoint", lost); err == nil || exitCode(err) != exitFailed ||
		!strings.Contains(err.Error(), "a backup was restored") || !strings.Contains(err.Error(), "after position 2 as timeline "+timeline) {
		t.Errorf("a checkpoint of the lost future: %v", err)
	}
	if out, err := rollcall("verify", "--url", p.url, "--checkpoint", keep(p, "new")); err != nil || !strings.Contains(out, "the checkpoint of 4 events") {
		t.Errorf("a checkpoint of the new timeline: %v\n%s", err, out)
	}
}

// Operators' commands append to the registry's stream, whose newest event is that of the timeline.
func TestARestoredRegistryHoldsAndEndsExpiry(t *testing.T) {
	p, timeline := lostFuture(t, nil, func(*process) {})
	for _, action := range []string{"hold", "end"} {
		if out, err := rollcall("preservation", action, "--ns", "default", "--reason", "drill", "--url", p.url); err != nil {
			t.Errorf("%s: %v\n%s", action, err, out)
		}
	}
	_, lines, err := p.send("GET", "/v1/events?from=5-"+timeline, "")
	if err != nil || strings.Count(string(lines), "\n") != 2 || !strings.Contains(string(lines), "SelfPreservationStarted") || !strings.Contains(string(lines), "SelfPreservationEnded") {
		t.Errorf("the log goes on with %s, %v", lines, err)
	}
}

// A webhook's position is its event's, and what the restored log has is delivered to the webhook that the backup has.
func TestAWebhookOfARestoredRegistryTellsPositionsOfItsTimeline(t *testing.T) {
	got := make(chan string, 100)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 4096)
		n, _ := r.Body.Read(b)
		_, position, _ := strings.Cut(string(b[:n]), `"position":"`)
		position, _, _ = strings.Cut(position, `"`)
		got <- position
	}))
	defer target.Close()
	p, timeline := lostFuture(t, []string{"--webhook-allow-private"}, func(*process) {})
	status, b, err := p.send("POST", "/v1/webhooks", fmt.Sprintf(`{"url":%q,"from":"2","service":"web"}`, target.URL))
	if err != nil || status != 201 {
		t.Fatal(status, err, string(b))
	}
	for _, want := range []string{"2", "4-" + timeline} {
		select {
		case position := <-got:
			if position != want {
				t.Errorf("position %s is delivered, want %s", position, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not delivered", want)
		}
	}
}
