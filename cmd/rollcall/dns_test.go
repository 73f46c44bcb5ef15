package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// named is a registry that answers DNS, with instances of web that are servers of this test.
type named struct {
	*process
	t       *testing.T
	address string // of DNS
	data    string
}

func startNamed(t *testing.T, args ...string) *named {
	data := t.TempDir()
	p := startServer(t, data, append([]string{"--dns-listen", "127.0.0.1:0", "--dns-ttl", "0s"}, args...)...)
	return &named{p, t, p.listens("dns is answered"), data}
}

// listens is the address that a line of the log says.
func (p *process) listens(message string) string {
	p.t.Helper()
	for line := range strings.Lines(p.logs.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			return entry.Address
		}
	}
	p.t.Fatalf("the registry does not log %q", message)
	return ""
}

func (n *named) do(args ...string) {
	n.t.Helper()
	if _, errs, code := run(n.t, nil, append(args, "--url", n.url)...); code != 0 {
		n.t.Fatalf("%v: %s", args, errs)
	}
}

// traffic changes an instance's traffic.
func (n *named) traffic(key, traffic string) {
	n.t.Helper()
	service, id, _ := strings.Cut(key, "/")
	r, err := http.NewRequest("PUT", n.url+"/v1/services/"+service+"/instances/"+id+"/traffic", strings.NewReader(`{"traffic":"`+traffic+`"}`))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		n.t.Fatal(resp.Status)
	}
}

// backend starts an HTTP server that says its name, and registers it as web/<name>.
func (n *named) backend(name string) {
	n.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	n.t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	n.do("register", "web/"+name, "--address", "127.0.0.1", "--port", "http="+port, "--ttl", "1h")
}

func (n *named) port() string {
	_, port, _ := net.SplitHostPort(n.address)
	return port
}

func dig(t *testing.T, address string, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.Command("dig", append([]string{"@" + host, "-p", port, "+tries=1", "+time=5"}, args...)...).Output()
	if err != nil {
		t.Fatalf("dig %v: %v\n%s", args, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip(program + " is not installed; make tools installs it")
	}
	return path
}

// background runs a program until the test ends.
func background(t *testing.T, path string, args ...string) {
	t.Helper()
	c := exec.Command(path, args...)
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = logs, logs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(logs.Name())
			t.Logf("%s: %s", path, said)
		}
	})
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// eventually repeats a look until it gives what is wanted.
func eventually(t *testing.T, want string, look func() string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = look(); got == want {
			return
		}
	}
	t.Errorf("got %q, want %q", got, want)
}

// answering gives the names of the servers that answer at a proxy, and the statuses that are not 200.
func answering(url string) string {
	seen := map[string]bool{}
	for range 20 {
		resp, err := http.Get(url)
		if err != nil {
			return err.Error()
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			body = fmt.Append(nil, resp.StatusCode)
		}
		seen[string(body)] = true
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestDNSFollowsTheRegistry(t *testing.T) {
	needs(t, "dig")
	n := startNamed(t)
	n.do("register", "web/a", "--address", "10.0.0.1", "--port", "http=8080", "--ttl", "1h")
	n.do("register", "Web/b", "--address", "10.0.0.2", "--port", "http=8081", "--ttl", "1h")
	n.do("register", "web/far", "--ns", "shop", "--address", "2001:db8::1", "--port", "http=80", "--ttl", "1h")
	for args, want := range map[string]string{
		"+short web.service.consul A":           "10.0.0.1\n10.0.0.2",
		"+short +tcp WEB.service.rollcall A":    "10.0.0.1\n10.0.0.2",
		"+short web.service.shop.rollcall AAAA": "2001:db8::1",
		"+short _web._tcp.service.consul SRV":   "1 100 8080 a.web.node.consul.\n1 100 8081 b.web.node.consul.",
		"+short a.web.node.consul A":            "10.0.0.1",
		"+short -x 10.0.0.2":                    "b.web.node.consul.",
		"+short +noedns 0a000009.addr.consul A": "10.0.0.9",
		"+short nobody.service.consul A":        "",
	} {
		if got := dig(t, n.address, strings.Fields(args)...); got != want {
			t.Errorf("dig %s: %q, want %q", args, got, want)
		}
	}
	if got := dig(t, n.address, "nobody.service.consul", "A"); !strings.Contains(got, "status: NXDOMAIN") || !strings.Contains(got, "SOA") {
		t.Errorf("of an unknown service: %s", got)
	}
	n.traffic("web/a", "draining")
	if got := dig(t, n.address, "+short", "web.service.consul"); got != "10.0.0.2" {
		t.Errorf("after a drain: %q", got)
	}
	resp, err := http.Get(n.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if metrics, _ := io.ReadAll(resp.Body); !strings.Contains(string(metrics), `rollcall_dns_answer_seconds_count{rcode="NXDOMAIN",type="A"}`) {
		t.Error("the answers are not counted")
	}
}

func TestDNSTellsNothingThatCallersWithoutATokenMayNotRead(t *testing.T) {
	needs(t, "dig")
	for _, args := range [][]string{
		{"--dns-listen", "0.0.0.0:0"}, {"--dns-listen", "127.0.0.1:0", "--access", "on"}, {"--dns-listen", "127.0.0.1:0", "--dns-ttl", "1ms"},
		{"--dns-listen", "127.0.0.1:0", "--dns-zone", "a..b"}, {"--dns-listen", "nonsense"},
	} {
		_, errs, code := run(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--log-level", "error"}, args...)...)
		if code == 0 || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %d %q", args, code, errs)
		}
	}
	rules := write(t, "access.yaml", "anonymous:\n  roles: [reader]\n  namespaces: [shop]\n  services: [web]\n")
	n := startNamed(t, "--access", "on", "--access-config", rules)
	created, errs, code := run(t, nil, "token", "create", "root", "--role", "admin", "--data", n.data)
	if code != 0 {
		t.Fatal(errs)
	}
	token := []string{"ROLLCALL_TOKEN=" + secret.FindString(created)}
	for key, address := range map[string]string{"shop/web/a": "10.0.0.1", "secret/web/a": "10.0.0.1", "shop/WEB/b": "10.0.0.2", "shop/hidden/a": "10.0.0.2"} {
		ns, instance, _ := strings.Cut(key, "/")
		if _, errs, code := run(t, token, "register", instance, "--ns", ns, "--address", address, "--ttl", "1h", "--url", n.url); code != 0 {
			t.Fatal(errs)
		}
	}
	for name, want := range map[string]string{"web.service.shop.consul": "10.0.0.1", "web.service.secret.consul": "", "hidden.service.shop.consul": "", "b.web.node.shop.consul": "", "a.web.node.secret.consul": "", "ip-10-0-0-1.node.shop.consul": "10.0.0.1", "ip-10-0-0-1.node.secret.consul": ""} {
		if got := dig(t, n.address, "+short", name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := dig(t, n.address, "secret.consul"); !strings.Contains(got, "NXDOMAIN") {
		t.Errorf("the namespace is told: %s", got)
	}
	if got := dig(t, n.address, "+short", "-x", "10.0.0.1"); got != "a.web.node.shop.consul." {
		t.Errorf("reverse: %q", got)
	}
}

// What Consul's clients say of a node counts in DNS at once.
func TestDNSKnowsTheNodesOfConsulsAPI(t *testing.T) {
	needs(t, "dig")
	n := startNamed(t, "--consul-listen", "127.0.0.1:0")
	api := "http://" + n.listens("consul's API is spoken")
	put := func(path, body string) {
		t.Helper()
		request, err := http.NewRequest(http.MethodPut, api+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(path, resp.Status)
		}
	}
	says := func(name, want string) {
		t.Helper()
		eventually(t, want, func() string { return dig(t, n.address, "+short", name) })
	}
	put("/v1/agent/service/register", `{"Name":"web","Port":80,"Address":"10.0.0.5"}`)
	says("web.service.consul", "10.0.0.5")
	says("ip-127-0-0-1.node.consul", "127.0.0.1")
	put("/v1/agent/check/register", `{"Name":"disk","TTL":"1h","Status":"critical"}`)
	says("web.service.consul", "")
	put("/v1/agent/check/pass/disk", "")
	says("web.service.consul", "10.0.0.5")
	put("/v1/agent/maintenance?enable=true", "")
	says("web.service.consul", "")
	put("/v1/agent/maintenance?enable=false", "")
	says("web.service.consul", "10.0.0.5")
	put("/v1/catalog/register", `{"Node":"Rack.1","Address":"10.9.0.1","NodeMeta":{"os":"linux"}}`)
	says("rack.1.node.dc1.consul", "10.9.0.1")
}

func TestHAProxyFollowsTheServersOfDNS(t *testing.T) {
	path := needs(t, "haproxy")
	n := startNamed(t)
	for _, name := range []string{"a", "b", "c"} {
		n.backend(name)
	}
	port := freePort(t)
	background(t, path, "-db", "-f", write(t, "haproxy.cfg", fmt.Sprintf(`
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
resolvers rollcall
  nameserver one 127.0.0.1:%s
  accepted_payload_size 8192
  timeout resolve 200ms
  timeout retry 200ms
  hold valid 200ms
  hold nx 200ms
  hold obsolete 200ms
frontend in
  bind 127.0.0.1:%s
  default_backend web
backend web
  server-template web 10 _http._tcp.web.service.rollcall resolvers rollcall init-addr none
`, n.port(), port)))
	url := "http://127.0.0.1:" + port
	eventually(t, "a b c", func() string { return answering(url) })
	n.traffic("web/b", "draining")
	eventually(t, "a c", func() string { return answering(url) })
	n.backend("d")
	eventually(t, "a c d", func() string { return answering(url) })
	for _, name := range []string{"a", "c", "d"} {
		n.do("deregister", "web/"+name)
	}
	eventually(t, "503", func() string { return answering(url) })
	n.backend("e")
	eventually(t, "e", func() string { return answering(url) })
}

func TestResolversPassAnswersOn(t *testing.T) {
	needs(t, "dig")
	for name, start := range map[string]func(n *named, port string){
		"dnsmasq": func(n *named, port string) {
			background(t, needs(t, "dnsmasq"), "--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=", "--pid-file=",
				"--port="+port, "--listen-address=127.0.0.1", "--bind-interfaces", "--server=/consul/127.0.0.1#"+n.port())
		},
		"unbound": func(n *named, port string) {
			background(t, needs(t, "unbound"), "-d", "-c", write(t, "unbound.conf", fmt.Sprintf(`
server:
  interface: 127.0.0.1@%s
  do-not-query-localhost: no
  domain-insecure: "consul"
  use-caps-for-id: yes
  qname-minimisation: yes
  harden-below-nxdomain: yes
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  directory: ""
  module-config: "iterator"
stub-zone:
  name: "consul"
  stub-addr: 127.0.0.1@%s
remote-control:
  control-enable: no
`, port, n.port())))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := startNamed(t)
			n.do("register", "web/a", "--address", "10.0.0.1", "--port", "http=8080", "--ttl", "1h")
			port := freePort(t)
			start(n, port)
			address := "127.0.0.1:" + port
			ask := func(args ...string) func() string {
				return func() string {
					out, _ := exec.Command("dig", append([]string{"@127.0.0.1", "-p", port, "+tries=1", "+time=2", "+short"}, args...)...).Output()
					return strings.TrimSpace(string(out))
				}
			}
			eventually(t, "10.0.0.1", ask("web.service.consul"))
			if got := dig(t, address, "+short", "_http._tcp.web.service.consul", "SRV"); got != "1 100 8080 a.web.node.consul." {
				t.Errorf("SRV: %q", got)
			}
			if got := dig(t, address, "web.service.consul", "AAAA"); !strings.Contains(got, "status: NOERROR") {
				t.Errorf("AAAA: %s", got)
			}
			n.traffic("web/a", "draining")
			eventually(t, "", ask("web.service.consul"))
			n.traffic("web/a", "serving")
			eventually(t, "10.0.0.1", ask("web.service.consul"))
		})
	}
}

func TestNginxFollowsTheAddressesOfDNS(t *testing.T) {
	path := needs(t, "nginx")
	n := startNamed(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a") }))
	defer s.Close()
	_, backend, _ := net.SplitHostPort(s.Listener.Addr().String())
	n.do("register", "web/a", "--address", "127.0.0.1", "--port", "http="+backend, "--ttl", "1h")
	port, dir := freePort(t), t.TempDir()
	background(t, path, "-p", dir, "-e", "stderr", "-c", write(t, "nginx.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  resolver 127.0.0.1:%s valid=1s;
  server {
    listen 127.0.0.1:%s;
    location / {
      set $web web.service.consul;
      proxy_pass http://$web:%s;
    }
  }
}
`, n.port(), port, backend)))
	url := "http://127.0.0.1:" + port
	eventually(t, "a", func() string { return answering(url) })
	n.traffic("web/a", "draining")
	eventually(t, "502", func() string { return answering(url) })
	n.traffic("web/a", "serving")
	eventually(t, "a", func() string { return answering(url) })
}
