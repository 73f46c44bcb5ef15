package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// The watch command goes on by itself where it was when the server is killed and started again.
func TestWatchGoesOnAfterAKill(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	p := startServer(t, data)
	c := exec.Command(path, "watch", "web", "--url", p.url)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
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
	p = startServer(t, data, "--listen", strings.TrimPrefix(p.url, "http://"))
	register("b")
	next("change", "b")
	if _, err := rollcall("watch", "we b", "--url", p.url); err == nil || exitCode(err) != exitFailed {
		t.Errorf("a bad service name: %v", err)
	}
}

// The table shows every kind of update as what it is: a cut takes nothing away, a reset replaces all.
func TestTheWatchTableFollowsEveryKindOfUpdate(t *testing.T) {
	var out bytes.Buffer
	w := &tableWatcher{out: &out, instances: map[domain.Key]wire.Instance{}}
	instance := func(id string) wire.Instance {
		return wire.Instance{Namespace: "default", Service: "web", ID: id}
	}
	b := instance("b")
	for _, step := range []struct {
		update client.Update
		want   string
	}{
		{client.Update{Kind: wire.StreamSnapshot, Instances: []wire.Instance{instance("a")}}, "web/a"},
		{client.Update{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Put, Namespace: "default", Service: "web", ID: "b", Summary: "registered", Instance: &b}}, "web/a web/b"},
		{client.Update{Kind: wire.StreamCut, Reason: "too slow"}, "web/a web/b"},
		{client.Update{Kind: wire.StreamChange, Change: &wire.Change{Op: wire.Delete, Namespace: "default", Service: "web", ID: "a", Summary: "deregistered"}}, "web/b"},
		{client.Update{Kind: wire.StreamReset, Instances: []wire.Instance{instance("c"), instance("d")}}, "web/c web/d"},
	} {
		out.Reset()
		if err := w.update(&step.update); err != nil {
			t.Fatal(err)
		}
		var shown []string
		for line := range strings.Lines(out.String()) {
			if id, ok := strings.CutPrefix(line, "default/"); ok { // news begin with a time
				shown = append(shown, strings.Fields(id)[0])
			}
		}
		if got := strings.Join(shown, " "); got != step.want {
			t.Errorf("after a %s it shows %s, want %s\n%s", step.update.Kind, got, step.want, out.String())
		}
	}
	w.trouble(errors.New("no answer from the registry"))
	if !strings.Contains(out.String(), "no answer from the registry; trying again") {
		t.Errorf("it does not say that the connection is lost:\n%s", out.String())
	}
}
