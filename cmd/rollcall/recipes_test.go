package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The load balancer's pool in docs/recipes, in each language, follows the registry through a kill, a restore and the loss
// of everything.
func TestTheLoadBalancerRecipes(t *testing.T) {
	built := filepath.Join(t.TempDir(), "loadbalancer")
	if out, err := exec.Command("go", "build", "-o", built, "../../docs/recipes/loadbalancer").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, command := range map[string][]string{
		"go": {built}, "shell": {"sh", "../../docs/recipes/loadbalancer/pool.sh"}, "javascript": {"node", "../../docs/recipes/loadbalancer/pool.mjs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			p := startServer(t, data)
			do := func(method, path, body string) {
				t.Helper()
				if status, b, err := p.send(method, "/v1/services/checkout/instances/"+path, body); err != nil || status >= 300 {
					t.Fatal(status, err, string(b))
				}
			}
			do("PUT", "a", `{"address":"10.0.0.1","ttl":"1h"}`)
			c := exec.Command(command[0], append(command[1:], p.url, "checkout")...)
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the shell has children
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatalf("%v; make test installs what is needed", err)
			}
			pools := make(chan string, 100)
			go func() {
				for lines := bufio.NewScanner(out); lines.Scan(); {
					pools <- lines.Text()
				}
			}()
			defer func() {
				_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
				_ = c.Wait()
			}()
			until := func(want string) {
				t.Helper()
				last := ""
				for {
					select {
					case last = <-pools:
						if last == "pool: "+want {
							return
						}
					case <-time.After(20 * time.Second):
						t.Fatalf("the pool is %q, want %q", last, want)
					}
				}
			}
			until("a 10.0.0.1,")
			do("PUT", "b", `{"address":"10.0.0.2","ttl":"1h"}`)
			until("a 10.0.0.1,b 10.0.0.2,")
			do("PUT", "a/traffic", `{"traffic":"draining"}`)
			until("b 10.0.0.2,")
			address := strings.TrimPrefix(p.url, "http://")
			_ = p.end(syscall.SIGKILL)
			p = startServer(t, data, "--listen", address)
			for i := range 3 {
				do("PUT", fmt.Sprint("c", i), `{"address":"10.0.0.3","ttl":"1h"}`)
			}
			do("DELETE", "b", "")
			until("c0 10.0.0.3,c1 10.0.0.3,c2 10.0.0.3,")
			dir, restored := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
			if out, err := rollcall("backup", dir, "--data", data); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			do("PUT", "lost", `{"address":"10.0.0.4","ttl":"1h"}`)
			until("c0 10.0.0.3,c1 10.0.0.3,c2 10.0.0.3,lost 10.0.0.4,")
			_ = p.end(syscall.SIGKILL)
			if out, err := rollcall("restore", dir, "--data", restored); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			p = startServer(t, restored, "--listen", address)
			until("c0 10.0.0.3,c1 10.0.0.3,c2 10.0.0.3,")
			_ = p.end(syscall.SIGKILL)
			p = startServer(t, t.TempDir(), "--listen", address)
			until("")
			do("PUT", "new", `{"address":"10.0.0.5","ttl":"1h"}`)
			until("new 10.0.0.5,")
		})
	}
}
