package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
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

// The file system is one of this test's own, in a file.
func TestAFrozenFileSystemEndsNoLease(t *testing.T) {
	image, mounted := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 400<<20); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
		}
		return nil
	}
	if err := run("mkfs.ext4", "-q", "-F", image); err != nil {
		t.Skip("no file system can be made here:", err)
	}
	if err := run("mount", "-o", "loop", image, mounted); err != nil {
		t.Skip("no file system can be mounted here:", err)
	}
	t.Cleanup(func() { // after the server has ended
		if err := run("umount", mounted); err != nil {
			t.Error(err)
		}
	})
	p := startServer(t, filepath.Join(mounted, "data"), "--self-preservation=false", "--min-free-mib", "64")
	stop := beatAll(t, p, 10)
	defer stop()
	if err := run("fsfreeze", "--freeze", mounted); err != nil {
		t.Skip("no file system can be frozen here:", err)
	}
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			if err := run("fsfreeze", "--unfreeze", mounted); err != nil {
				t.Error(err)
			}
		}
	}
	defer thaw() // before the heartbeats are waited for, and before the server is
	time.Sleep(4 * time.Second)
	thaw()
	wantNoneLost(t, p, 10, "a commit took too long")
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
		{"why web/0", []string{"is registered", "expiry is held in namespace default since", "by anonymous: rack-4", "Its lease is overdue since"}},
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

func TestTheStatusIsShownOnTheCommandLine(t *testing.T) {
	p := startServer(t, t.TempDir())
	if status, b, err := p.send("PUT", "/v1/services/web/instances/0", `{"address":"10.0.0.5"}`); status != 201 {
		t.Fatal(status, string(b), err)
	}
	if status, b, err := p.send("PUT", "/v1/preservation?ns=prod", `{"held":true,"reason":"rack 4"}`); status != 200 {
		t.Fatal(status, string(b), err)
	}
	out, err := rollcall("status", "--url", p.url)
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{
		"REGISTRY", p.url, "version", "ready", "yes", "embedded, ", "position 2", "free of", "1 instance of 1 service,", "with the store", "1, of which 0 overdue",
		"expiry is held in namespace prod since", "by anonymous rack 4", "heartbeats", "taken all the time",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the status does not say %q:\n%s", want, out)
		}
	}
	_ = p.Process.Signal(syscall.SIGSTOP)
	time.Sleep(1500 * time.Millisecond)
	_ = p.Process.Signal(syscall.SIGCONT)
	time.Sleep(500 * time.Millisecond)
	out, err = rollcall("status", "-o", "json", "--url", p.url)
	var status wire.Status
	if err == nil {
		err = json.Unmarshal([]byte(out), &status)
	}
	if stopped := time.Duration(status.Listening.ByCause[domain.DeafStopped]); err != nil || stopped < time.Second || !status.Listening.Able || status.Listening.Total < status.Listening.ByCause[domain.DeafStopped] {
		t.Errorf("after a pause the status is %s %v", out, err)
	}
	if status.Disk == nil || status.Disk.Free == 0 || status.Store.Bytes == nil || *status.Store.Bytes == 0 {
		t.Errorf("of the disk it says %s", out)
	}
}

func TestTheSilentAreLeftOutOnTheCommandLine(t *testing.T) {
	p := startServer(t, t.TempDir())
	for id, ttl := range map[string]string{"quiet": "1s", "patient": "1h"} {
		if status, b, err := p.send("PUT", "/v1/services/web/instances/"+id, `{"address":"10.0.0.5","ttl":"`+ttl+`"}`); status != 201 {
			t.Fatal(status, string(b), err)
		}
	}
	if out, err := rollcall("preservation", "hold", "--url", p.url); err != nil {
		t.Fatal(err, out)
	}
	time.Sleep(1500 * time.Millisecond) // its lease lapses, and is held
	all, err := rollcall("instances", "web", "--url", p.url)
	if err != nil || !strings.Contains(all, "quiet") || !strings.Contains(all, "patient") {
		t.Errorf("without a bound: %s %v", all, err)
	}
	some, err := rollcall("instances", "web", "--ready", "--max-silence", "1.2", "--url", p.url)
	if err != nil || strings.Contains(some, "quiet") || !strings.Contains(some, "patient") {
		t.Errorf("with one: %s %v", some, err)
	}
	for _, bad := range []string{"0", "0.5", "-1", "NaN"} {
		if out, err := rollcall("instances", "web", "--max-silence="+bad, "--url", p.url); exitCode(err) != exitUsage {
			t.Errorf("--max-silence=%s: %s %v", bad, out, err)
		}
	}
}
