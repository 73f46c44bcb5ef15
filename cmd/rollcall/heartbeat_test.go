package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// A heartbeat that goes on lives through refusals, a registry that is killed, and a path that swallows bytes.
func TestHeartbeatsGoOn(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data)
	path := startRelay(t, strings.TrimPrefix(p.url, "http://"))
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	said := &lockedBuffer{}
	c := exec.Command(program, "heartbeat", "web/a", "--url", path.url(), "--every", "300ms", "--owner", "me", "--address", "10.0.0.5", "--port", "http=8080", "--ttl", "2s")
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	key := domain.Key{Namespace: "default", Service: "web", ID: "a"}
	// epoch waits until an epoch is live.
	epoch := func(want uint64) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if i := p.live(key); i != nil && i.Epoch == want && i.Owner == "me" && i.Ports["http"] == 8080 {
				return
			}
			if time.Since(began) > 15*time.Second {
				t.Fatalf("epoch %d is not live: %+v\n%s", want, p.live(key), said)
			}
		}
	}
	epoch(1)
	if status, body, err := p.send("DELETE", "/v1/services/web/instances/a", ""); err != nil || status != 200 {
		t.Fatal(status, err, string(body))
	}
	epoch(2)
	path.swallow(time.Second)
	time.Sleep(2500 * time.Millisecond) // longer than the lease
	epoch(2)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	time.Sleep(time.Second)
	p = startServer(t, data)
	path.setTarget(strings.TrimPrefix(p.url, "http://"))
	time.Sleep(2500 * time.Millisecond)
	epoch(2)
	if status, body, err := p.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.6","owner":"successor","ttl":"1h"}`); err != nil || status != 201 {
		t.Fatal(status, err, string(body))
	}
	time.Sleep(time.Second)
	if i := p.live(key); i == nil || i.Owner != "successor" {
		t.Errorf("the successor was replaced: %+v", i)
	}
	if !strings.Contains(said.String(), `was registered by "successor"`) {
		t.Errorf("it says:\n%s", said)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	for _, args := range [][]string{{"--address", "10.0.0.5"}, {"--every", "1s", "--port", "http=1"}, {"--every", "1s", "--address", "0.0.0.0"}, {"--every", "1s", "--address", "10.0.0.5", "--epoch", "1"}} {
		if _, err := rollcall(append([]string{"heartbeat", "web/a", "--url", p.url}, args...)...); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
}
