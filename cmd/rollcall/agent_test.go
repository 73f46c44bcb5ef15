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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// hostAgent is a running `rollcall agent`.
type hostAgent struct {
	*exec.Cmd
	t    *testing.T
	url  string
	said *lockedBuffer
	told *net.UnixConn // what the agent tells systemd
}

// startAgent runs an agent, and waits until it has told systemd that it is ready.
func startAgent(t *testing.T, registry string, args ...string) *hostAgent {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	a := &hostAgent{Cmd: exec.Command(path, append([]string{"agent", "--url", registry, "--listen", "127.0.0.1:0", "--host", "host-1", "--address", "127.0.0.1"}, args...)...), t: t, said: &lockedBuffer{}, told: notify}
	a.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	a.Stderr = a.said
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Process.Kill(); _ = a.Wait() })
	a.tells("READY=1")
	for began := time.Now(); a.url == "" && time.Since(began) < 10*time.Second; time.Sleep(5 * time.Millisecond) { // the pipe of its log may be slower
		a.url = a.logged("the agent is ready").URL
	}
	if a.url == "" {
		t.Fatalf("the agent names no URL:\n%s", a.said)
	}
	return a
}

// tells wants the next word to systemd.
func (a *hostAgent) tells(want string) {
	a.t.Helper()
	_ = a.told.SetReadDeadline(time.Now().Add(20 * time.Second))
	buffer := make([]byte, 100)
	n, err := a.told.Read(buffer)
	if err != nil || string(buffer[:n]) != want {
		a.t.Fatalf("systemd was told %q, %v, want %q\n%s", buffer[:n], err, want, a.said)
	}
}

// logLine is what tests look at in a line of an agent's log.
type logLine struct{ Msg, URL, Address string }

// logged is the newest line of the log with a message; the zero line: there is none.
func (a *hostAgent) logged(message string) (found logLine) {
	for line := range strings.Lines(a.said.String()) {
		var entry logLine
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			found = entry
		}
	}
	return found
}

// until waits until something holds; what says what else is so.
func (a *hostAgent) until(what string, holds func() bool) {
	a.t.Helper()
	for began := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			a.t.Fatalf("%s\n%s", what, a.said)
		}
	}
}

func (a *hostAgent) end() {
	a.t.Helper()
	if err := a.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	if err := a.Wait(); err != nil {
		a.t.Errorf("the agent ends with %v\n%s", err, a.said)
	}
}

// lookup asks the agent for the ready instances of a service.
func (a *hostAgent) lookup(service string) (ids []string, header http.Header) {
	a.t.Helper()
	resp, err := transport.Get(a.url + "/v1/services/" + service + "/instances?ready=true")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var list wire.InstanceList
	if err != nil || resp.StatusCode != 200 || json.Unmarshal(b, &list) != nil {
		a.t.Fatalf("%s, %v: %s", resp.Status, err, b)
	}
	for _, i := range list.Instances {
		ids = append(ids, i.ID)
	}
	return ids, resp.Header
}

func TestAnAgentServesItsHostWhileTheRegistryIsAway(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data)
	path := startRelay(t, strings.TrimPrefix(p.url, "http://"))
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer shop.Close()
	folder, state := t.TempDir(), t.TempDir()
	definition := fmt.Sprintf("service: shop\nports: {http: 8080}\nttl: 3s\nchecks: [{id: web, kind: http, url: '%s/healthz', interval: 1s}]\n", shop.URL)
	if err := os.WriteFile(filepath.Join(folder, "shop.yaml"), []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "wrong.json"), []byte(`{"service": "pay", "colour": "red"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, path.url(), folder, "--data", state, "--watch", "shop")
	shopKey, node := domain.Key{Namespace: "default", Service: "shop", ID: "host-1"}, domain.Key{Namespace: "default", Service: "node", ID: "host-1"}
	until := func(what string, holds func() bool) { t.Helper(); a.until(what, holds) }
	until("the instances are not registered", func() bool { return p.live(shopKey) != nil && p.live(node) != nil })
	if i := p.live(node); i.Metadata["os"] == "" || i.Owner != "agent:host-1" {
		t.Errorf("the node is %+v", i)
	}
	if !strings.Contains(a.said.String(), "wrong.json: colour: is not a known field") {
		t.Errorf("the agent says:\n%s", a.said)
	}
	until("the agent knows no instance", func() bool { ids, _ := a.lookup("shop"); return len(ids) == 1 })

	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	until("the agent does not notice", func() bool { _, h := a.lookup("shop"); return h.Get("Rollcall-Stale") == "true" })
	a.end()
	a = startAgent(t, path.url(), folder, "--data", state, "--watch", "shop") // without the registry
	if ids, h := a.lookup("shop"); len(ids) != 1 || h.Get("Age") == "" || h.Get("Rollcall-Stale") != "true" {
		t.Errorf("from the cache: %v, %v", ids, h)
	}
	p = startServer(t, data)
	path.setTarget(strings.TrimPrefix(p.url, "http://"))
	until("the agent does not come back", func() bool { _, h := a.lookup("shop"); return h.Get("Rollcall-Stale") == "false" })
	time.Sleep(4 * time.Second) // longer than the lease
	if i := p.live(shopKey); i == nil || i.Epoch != 1 || i.Status != domain.Passing {
		t.Errorf("after the restarts: %+v", i)
	}
	shop.Close()
	until("the check does not fail", func() bool { i := p.live(shopKey); return i != nil && i.Status == domain.Critical })
	for _, words := range []string{"checks shop", "why shop/host-1"} { // each names the check, and what was seen
		out, err := rollcall(append(strings.Fields(words), "--url", p.url)...)
		if err != nil || !strings.Contains(out, "web") || !strings.Contains(out, "connection refused") {
			t.Errorf("%s: %v\n%s", words, err, out)
		}
	}
	a.end()
	for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"--watch", "-"}, {"--dns-listen", "0.0.0.0:0"}, {"--dns-listen", "127.0.0.1:0", "--dns-ttl", "1ms"}} {
		if _, err := rollcall(append([]string{"agent", folder, "--url", p.url}, args...)...); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := rollcall("agent", filepath.Join(folder, "none"), "--url", p.url); exitCode(err) != exitUsage {
		t.Errorf("a folder that is not there: %v", err)
	}
}
