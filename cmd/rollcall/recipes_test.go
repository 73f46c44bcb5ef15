package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/stream"
)

// poolRecipes are the commands of the recipes, by language.
func poolRecipes(t *testing.T) map[string][]string {
	t.Helper()
	built := filepath.Join(t.TempDir(), "loadbalancer")
	if out, err := exec.Command("go", "build", "-o", built, "../../docs/recipes/loadbalancer").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return map[string][]string{
		"go": {built}, "shell": {"sh", "../../docs/recipes/loadbalancer/pool.sh"}, "javascript": {"node", "../../docs/recipes/loadbalancer/pool.mjs"},
	}
}

// runningPool is a running recipe.
type runningPool struct {
	t     *testing.T
	lines chan string
}

// startPool runs a recipe until the test ends.
func startPool(t *testing.T, command []string, arguments ...string) *runningPool {
	t.Helper()
	c := exec.Command(command[0], append(command[1:], arguments...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the shell has children
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatalf("%v; make test installs what is needed", err)
	}
	p := &runningPool{t: t, lines: make(chan string, 100)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	})
	return p
}

// until waits until the recipe prints a pool.
func (p *runningPool) until(want string) {
	p.t.Helper()
	last := ""
	for {
		select {
		case last = <-p.lines:
			if last == "pool: "+want {
				return
			}
		case <-time.After(50 * time.Second):
			p.t.Fatalf("the pool is %q, want %q", last, want)
		}
	}
}

// startWatch runs `rollcall watch`, and gives what says whether it has told of an instance.
func startWatch(t *testing.T, url, service string) (told func(id string) bool) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c, said := exec.Command(path, "watch", service, "--url", url, "-o", "json"), &lockedBuffer{}
	c.Stdout = said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return func(id string) bool { return strings.Contains(said.String(), `"id":"`+id+`"`) }
}

// startSubscriber runs a watermill subscriber of a remote registry, and gives what says whether it was told of an instance.
func startSubscriber(t *testing.T, url, service string) (told func(id string) bool) {
	t.Helper()
	sub, err := stream.NewSubscriber(stream.Config{Source: stream.Remote{URL: url}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := sub.Subscribe(t.Context(), "events?service="+service)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() })
	var known sync.Map // ids
	go func() {
		for m := range messages { // closed by the subscriber
			parts := strings.Split(m.Metadata["stream"], "/")
			known.Store(parts[len(parts)-1], true)
			m.Ack()
		}
	}()
	return func(id string) bool { _, ok := known.Load(id); return ok }
}

// A path that swallows bytes is noticed by the keep-alives that do not come: by the recipes, `rollcall watch` and the
// watermill subscriber.
func TestShippedClientsNoticeADeadPath(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over half a minute")
	}
	p := startServer(t, t.TempDir())
	register := func(id string) {
		t.Helper()
		if status, b, err := p.send("PUT", "/v1/services/checkout/instances/"+id, `{"address":"10.0.0.1","ttl":"1h"}`); err != nil || status != 201 {
			t.Fatal(status, err, string(b))
		}
	}
	register("a")
	path := startRelay(t, strings.TrimPrefix(p.url, "http://"))
	var pools []*runningPool
	for _, command := range poolRecipes(t) {
		pools = append(pools, startPool(t, command, path.url(), "checkout"))
	}
	for _, pool := range pools {
		pool.until("a 10.0.0.1 weight=100,")
	}
	others := map[string]func(string) bool{"rollcall watch": startWatch(t, path.url(), "checkout"), "the subscriber": startSubscriber(t, path.url(), "checkout")}
	told := func(id string) {
		t.Helper()
		for name, told := range others {
			for began := time.Now(); !told(id); time.Sleep(20 * time.Millisecond) {
				if time.Since(began) > 50*time.Second {
					t.Fatalf("%s is not told of %s", name, id)
				}
			}
		}
	}
	told("a")
	path.swallow(100 * time.Millisecond)
	register("b")
	began := time.Now()
	told("b")
	for _, pool := range pools {
		pool.until("a 10.0.0.1 weight=100,b 10.0.0.1 weight=100,")
	}
	if took := time.Since(began); took < 5*time.Second || took > 45*time.Second {
		t.Errorf("noticed after %v", took)
	}
}

// shops are servers of HTTP that answer with their id.
func shops(t *testing.T, p *process, ids ...string) (register func(id string, weight int)) {
	t.Helper()
	ports := map[string]string{}
	for _, id := range ids {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, id) }))
		t.Cleanup(s.Close)
		ports[id] = s.URL[strings.LastIndex(s.URL, ":")+1:]
	}
	return func(id string, weight int) {
		t.Helper()
		body := fmt.Sprintf(`{"address":"127.0.0.1","ports":{"http":%s,"admin":1},"ttl":"1h","weight":%d}`, ports[id], weight)
		if status, b, err := p.send("PUT", "/v1/services/checkout/instances/"+id, body); err != nil || status >= 300 {
			t.Fatal(status, err, string(b))
		}
	}
}

// answers waits until 40 answers of a URL have these shares, roughly.
func answers(t *testing.T, url string, want map[string]int) {
	t.Helper()
	var got map[string]int
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		got = map[string]int{}
		for range 40 {
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
			if err != nil {
				got[err.Error()]++
				break
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				b = []byte(resp.Status)
			}
			got[string(b)]++
		}
		same := len(got) == len(want)
		for id, n := range want {
			same = same && got[id] >= n-2 && got[id] <= n+2
		}
		if same {
			return
		}
	}
	t.Fatalf("%s answers %v, want %v", url, got, want)
}

// The recipes drive a HAProxy and an nginx, in each language.
func TestTheRecipesDriveLoadBalancers(t *testing.T) {
	drive := func(t *testing.T, p *process, url string) {
		t.Helper()
		remove := func(id string) {
			t.Helper()
			if status, b, err := p.send("DELETE", "/v1/services/checkout/instances/"+id, ""); err != nil || status != 200 {
				t.Fatal(status, err, string(b))
			}
		}
		register := shops(t, p, "a.b", "axb", "c")
		register("a.b", 100)
		answers(t, url, map[string]int{"a.b": 40})
		register("axb", 100)
		answers(t, url, map[string]int{"a.b": 20, "axb": 20})
		register("axb", 300)
		answers(t, url, map[string]int{"a.b": 10, "axb": 30})
		remove("a.b")
		answers(t, url, map[string]int{"axb": 40})
		register("c", 300)
		answers(t, url, map[string]int{"axb": 20, "c": 20})
		if status, b, err := p.send("PUT", "/v1/services/checkout/instances/c/traffic", `{"traffic":"draining"}`); err != nil || status != 200 {
			t.Fatal(status, err, string(b))
		}
		answers(t, url, map[string]int{"axb": 40})
		if status, b, err := p.send("PUT", "/v1/services/checkout/instances/c/traffic", `{"traffic":"serving"}`); err != nil || status != 200 {
			t.Fatal(status, err, string(b))
		}
		answers(t, url, map[string]int{"axb": 20, "c": 20})
	}
	scripts, err := filepath.Abs("../../docs/recipes/loadbalancer")
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(t *testing.T, command ...string) {
		t.Helper()
		c := exec.Command(command[0], command[1:]...)
		if err := c.Start(); err != nil {
			t.Fatalf("%v; make test installs what is needed", err)
		}
		t.Cleanup(func() { _ = c.Process.Signal(syscall.SIGTERM); _ = c.Wait() })
	}
	for name, command := range poolRecipes(t) {
		t.Run("haproxy-"+name, func(t *testing.T) {
			p, port, dir := startServer(t, t.TempDir()), freePort(t), t.TempDir()
			socket := filepath.Join(dir, "s")
			write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf("global\n stats socket %s mode 600 level admin\ndefaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"+
				"frontend web\n bind 127.0.0.1:%s\n default_backend checkout\nbackend checkout\n balance roundrobin\n", socket, port))
			run(t, "haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg"))
			for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(socket); err == nil {
					break
				}
			}
			startPool(t, command, p.url, "checkout", "sh", filepath.Join(scripts, "haproxy.sh"), socket, "checkout")
			drive(t, p, fmt.Sprint("http://127.0.0.1:", port))
		})
		t.Run("nginx-"+name, func(t *testing.T) {
			p, port, dir := startServer(t, t.TempDir()), freePort(t), t.TempDir()
			write(t, filepath.Join(dir, "checkout.conf"), "upstream checkout { server 127.0.0.1:9 down; }\n")
			temporary := ""
			for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				temporary += fmt.Sprintf(" %s_temp_path %s/%s;\n", kind, dir, kind)
			}
			write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf("daemon off;\npid %s/pid;\nerror_log stderr crit;\nworker_processes 1;\nevents {}\nhttp {\n access_log off;\n%s include %s/checkout.conf;\n"+
				" server { listen 127.0.0.1:%s; location / { proxy_pass http://checkout; } }\n}\n", dir, temporary, dir, port))
			nginx := []string{"nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")}
			run(t, nginx...)
			for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
				if b, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil && len(b) > 0 {
					break
				}
			}
			startPool(t, command, append([]string{p.url, "checkout", "sh", filepath.Join(scripts, "nginx.sh"), filepath.Join(dir, "checkout.conf"), "checkout"}, append(nginx, "-s", "reload")...)...)
			drive(t, p, fmt.Sprint("http://127.0.0.1:", port))
		})
	}
}

// The load balancer's pool in docs/recipes, in each language, follows the registry through a kill, a restore and the loss
// of everything.
func TestTheLoadBalancerRecipes(t *testing.T) {
	for name, command := range poolRecipes(t) {
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
			pools := startPool(t, command, p.url, "checkout")
			until := func(want string) { t.Helper(); pools.until(want) }
			until("a 10.0.0.1 weight=100,")
			do("PUT", "b", `{"address":"10.0.0.2","ttl":"1h"}`)
			until("a 10.0.0.1 weight=100,b 10.0.0.2 weight=100,")
			// An id is no pattern.
			do("PUT", "axb", `{"address":"10.0.0.8","ttl":"1h","weight":7,"ports":{"http":80,"admin":81}}`)
			do("PUT", "a.b", `{"address":"10.0.0.9","ttl":"1h","ports":{"web":90}}`)
			until("a 10.0.0.1 weight=100,a.b 10.0.0.9 web=90 weight=100,axb 10.0.0.8 admin=81 http=80 weight=7,b 10.0.0.2 weight=100,")
			do("DELETE", "a.b", "")
			until("a 10.0.0.1 weight=100,axb 10.0.0.8 admin=81 http=80 weight=7,b 10.0.0.2 weight=100,")
			do("DELETE", "axb", "")
			do("PUT", "a/traffic", `{"traffic":"draining"}`)
			until("b 10.0.0.2 weight=100,")
			address := strings.TrimPrefix(p.url, "http://")
			_ = p.end(syscall.SIGKILL)
			p = startServer(t, data, "--listen", address)
			for i := range 3 {
				do("PUT", fmt.Sprint("c", i), `{"address":"10.0.0.3","ttl":"1h"}`)
			}
			do("DELETE", "b", "")
			until("c0 10.0.0.3 weight=100,c1 10.0.0.3 weight=100,c2 10.0.0.3 weight=100,")
			dir, restored := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "restored")
			if out, err := rollcall("backup", dir, "--data", data); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			do("PUT", "lost", `{"address":"10.0.0.4","ttl":"1h"}`)
			until("c0 10.0.0.3 weight=100,c1 10.0.0.3 weight=100,c2 10.0.0.3 weight=100,lost 10.0.0.4 weight=100,")
			_ = p.end(syscall.SIGKILL)
			if out, err := rollcall("restore", dir, "--data", restored); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			p = startServer(t, restored, "--listen", address)
			until("c0 10.0.0.3 weight=100,c1 10.0.0.3 weight=100,c2 10.0.0.3 weight=100,")
			_ = p.end(syscall.SIGKILL)
			p = startServer(t, t.TempDir(), "--listen", address)
			until("")
			do("PUT", "new", `{"address":"10.0.0.5","ttl":"1h"}`)
			until("new 10.0.0.5 weight=100,")
		})
	}
}
