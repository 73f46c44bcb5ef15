package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beatAll sends heartbeats of instances of a service every 300 ms, whatever is answered, until stopped.
func beatAll(t *testing.T, p *process, n int) (stop func()) {
	t.Helper()
	for i := range n {
		if status, b, err := p.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d", i), `{"address":"10.0.0.5","ttl":"2s"}`); status != 201 {
			t.Fatal(status, string(b), err)
		}
	}
	ended := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			for {
				_, _, _ = p.send("PUT", fmt.Sprintf("/v1/services/web/instances/%d/heartbeat", i), "")
				select {
				case <-ended:
					return
				case <-time.After(300 * time.Millisecond):
				}
			}
		})
	}
	return func() { close(ended); group.Wait() }
}

// wantNoneLost looks whether all instances are there, and whether the history and why tell what the registry could not do.
func wantNoneLost(t *testing.T, p *process, n int, cause string) {
	t.Helper()
	time.Sleep(1500 * time.Millisecond)
	if got := len(p.instances("web")); got != n {
		t.Errorf("%d instances are left of %d\n%s", got, n, p.logs)
	}
	for _, ask := range [][]string{{"history", "--type", "ListeningInterrupted"}, {"why", "web/0"}} {
		out, err := rollcall(append(ask, "--url", p.url)...)
		if err != nil || !strings.Contains(out, "the registry could not take heartbeats: "+cause) {
			t.Errorf("%v: %v\n%s", ask, err, out)
		}
	}
}

func TestAStoppedProcessEndsNoLease(t *testing.T) {
	p := startServer(t, t.TempDir(), "--self-preservation=false")
	stop := beatAll(t, p, 10)
	defer stop()
	_ = p.Process.Signal(syscall.SIGSTOP)
	time.Sleep(3 * time.Second)
	_ = p.Process.Signal(syscall.SIGCONT)
	wantNoneLost(t, p, 10, "the process stood still")
}

// The disk is one of this test's own: a file system in memory that only the server's process sees.
func TestAFullDiskEndsNoLease(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	const mounted = `mount -t tmpfs -o size=256m tmpfs "$1"`
	if err := exec.Command("unshare", "-r", "-m", "sh", "-c", mounted, "sh", data).Run(); err != nil {
		t.Skip("no file system can be mounted here:", err)
	}
	p := startCommand(t, exec.Command("unshare", "-r", "-m", "sh", "-c",
		mounted+` && exec "$2" serve --listen 127.0.0.1:0 --data "$1" --log-format json --min-free-mib 64 --self-preservation=false`, "sh", data, path))
	stop := beatAll(t, p, 10)
	defer stop()
	ballast := filepath.Join("/proc", fmt.Sprint(p.Process.Pid), "root", data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 180<<20), 0o600); err != nil {
		t.Skip("its file system cannot be reached:", err)
	}
	time.Sleep(3500 * time.Millisecond)
	if status, b, _ := p.send("PUT", "/v1/services/web/instances/0/heartbeat", ""); status != 507 {
		t.Errorf("a heartbeat on a full disk is answered %d %s", status, b)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wantNoneLost(t, p, 10, "the disk was full")
}

func TestOperatorsHoldExpiryFromTheCommandLine(t *testing.T) {
	p := startServer(t, t.TempDir())
	if status, b, err := p.send("PUT", "/v1/services/web/instances/0", `{"address":"10.0.0.5","ttl":"1s"}`); status != 201 {
		t.Fatal(status, string(b), err)
	}
	for _, c := range []struct {
		args string
		want []string
	}{
		{"preservation hold --reason rack-4", []string{"default", "held", "rack-4"}},
		{"preservation", []string{"default", "held", "anonymous", "rack-4"}},
		{"services", []string{"web", "expiry is held in namespace default since", "by anonymous"}},
		{"instances web", []string{"10.0.0.5", "expiry is held in namespace default since"}},
		{"why web/0", []string{"is registered", "expiry is held in namespace default since"}},
		{"preservation end --reason done", []string{"default", "goes on", "done"}},
	} {
		out, err := rollcall(append(strings.Fields(c.args), "--url", p.url)...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.args, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not say %q:\n%s", c.args, want, out)
			}
		}
		if c.args == "preservation hold --reason rack-4" {
			time.Sleep(1500 * time.Millisecond) // the lease lapses, and is held
		}
	}
	time.Sleep(500 * time.Millisecond)
	if got := len(p.instances("web")); got != 0 {
		t.Errorf("%d instances are left after the end", got)
	}
}
