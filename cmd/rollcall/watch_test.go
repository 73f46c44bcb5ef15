package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The watch command goes on by itself where it was when the server is killed and started again.
func TestWatchGoesOnAfterAKill(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	p := startServer(t, data)
	c := exec.Command(path, "watch", "web", "-o", "json", "--url", p.url)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var faults lockedBuffer
	c.Stderr = &faults
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	lines := make(chan string, 10)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	next := func(event, id string) {
		t.Helper()
		select {
		case line := <-lines:
			var said struct {
				Event string
				Data  struct{ ID string }
			}
			if err := json.Unmarshal([]byte(line), &said); err != nil || said.Event != event || said.Data.ID != id {
				t.Fatalf("it says %s, %v; want %s of %q", line, err, event, id)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no %s of %q comes", event, id)
		}
	}
	register := func(id string) {
		t.Helper()
		if status, b, err := p.send("PUT", "/v1/services/web/instances/"+id, `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	next("snapshot", "")
	register("a")
	next("change", "a")
	_ = p.end(syscall.SIGKILL)
	time.Sleep(time.Second) // for several attempts
	p = startServer(t, data, "--listen", strings.TrimPrefix(p.url, "http://"))
	for began := time.Now(); !strings.Contains(faults.String(), "is back"); time.Sleep(10 * time.Millisecond) { // though nothing has changed
		if time.Since(began) > 20*time.Second {
			t.Fatalf("it does not say that the registry is back: %q", faults.String())
		}
	}
	said := strings.Split(faults.String(), "\n")
	if len(said) != 3 || !strings.HasPrefix(said[0], "rollcall: ") || !strings.HasSuffix(said[0], "; trying again") || said[1] != "rollcall: the registry is back" {
		t.Errorf("of the registry's absence it says %q", said)
	}
	register("b")
	next("change", "b")
	if _, err := rollcall("watch", "we b", "--url", p.url); err == nil || exitCode(err) != exitUsage {
		t.Errorf("a bad service name: %v", err)
	}
}

// Two registries that were never restored have no name in their positions. A list of URLs with both of them gives no mixture of both.
func TestWatchDoesNotMixTwoRegistries(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	one, two := startServer(t, t.TempDir()), startServer(t, t.TempDir())
	for _, of := range []struct {
		p   *process
		ids string
	}{{one, "a b"}, {two, "c d e"}} {
		for id := range strings.FieldsSeq(of.ids) {
			if status, b, err := of.p.send("PUT", "/v1/services/web/instances/"+id, `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
				t.Fatal(status, err, string(b))
			}
		}
	}
	w := startEndless(t, exec.Command(path, "watch", "web", "-o", "json", "--url", one.url+","+two.url), `"event":"snapshot"`)
	_ = one.end(syscall.SIGKILL)
	for began := time.Now(); !strings.Contains(w.said.String(), `"event":"reset"`); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("it says %s", w.said)
		}
	}
	if said := w.said.String(); strings.Contains(said, `"event":"change"`) || !strings.Contains(said, two.url+" is another registry than the one before, or lost its data") {
		t.Errorf("it says %s", said)
	}
	w.stop(t)
}
