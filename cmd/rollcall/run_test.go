package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// supervised is a running `rollcall run`.
type supervised struct {
	*exec.Cmd
	t    *testing.T
	key  domain.Key
	said *lockedBuffer
	done chan struct{}
}

// lockedBuffer is a buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// supervise runs a shell script under `rollcall run`.
func supervise(t *testing.T, p *process, id, script string, flags ...string) *supervised {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"run", "--url", p.url, "--service", "job", "--id", id, "--address", "127.0.0.1", "--port", "http=8080"}, flags...)
	s := &supervised{Cmd: exec.Command(path, append(args, "--", "sh", "-c", script)...), t: t, said: &lockedBuffer{}, done: make(chan struct{})}
	s.key = domain.Key{Namespace: "default", Service: "job", ID: id}
	s.Stdout, s.Stderr = s.said, s.said
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Wait(); close(s.done) }()
	t.Cleanup(func() {
		_ = s.Process.Kill()
		<-s.done
	})
	return s
}

// code waits for the end and gives the exit code.
func (s *supervised) code() int {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.t.Fatalf("run does not end:\n%s", s.said)
	}
	return s.ProcessState.ExitCode()
}

// until waits until the output has a text.
func (s *supervised) until(text string) {
	s.t.Helper()
	for began := time.Now(); !strings.Contains(s.said.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			s.t.Fatalf("run does not say %q:\n%s", text, s.said)
		}
	}
}

// live is the instance, nil if it is not registered.
func (p *process) live(key domain.Key) *wire.Instance {
	p.t.Helper()
	status, body, err := p.send("GET", "/v1/services/"+key.Service+"/instances/"+key.ID, "")
	if err != nil || status != 200 && status != 404 && status != 410 {
		p.t.Fatal(status, err, string(body))
	}
	if status != 200 {
		return nil
	}
	var i wire.Instance
	if err := json.Unmarshal(body, &i); err != nil {
		p.t.Fatal(err)
	}
	return &i
}

// ended is the reason of the newest deregistration of an instance.
func (p *process) ended(key domain.Key) string {
	p.t.Helper()
	c, err := client.New(p.url, client.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	page, err := c.History(p.t.Context(), client.HistoryQuery{Instance: key, Types: []string{domain.TypeInstanceDeregistered}, Limit: 1})
	if err != nil || len(page.Value.Entries) == 0 {
		p.t.Fatalf("%+v, %v", page.Value, err)
	}
	var data struct{ Reason string }
	if err := json.Unmarshal(page.Value.Entries[0].Data, &data); err != nil {
		p.t.Fatal(err)
	}
	return data.Reason
}

// The process ends in every way, and `why` tells how in exactly these words.
func TestRunTellsHowAProcessEnded(t *testing.T) {
	p := startServer(t, t.TempDir())
	stop := func(sig os.Signal) func(*testing.T, *supervised) {
		return func(t *testing.T, s *supervised) {
			if err := s.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		script string
		flags  []string
		act    func(*testing.T, *supervised) // nil: the process ends by itself
		reason string
		code   int
	}{
		"success":        {`sleep 0.5`, nil, nil, "exited with code 0", 0},
		"failure":        {`sleep 0.5; exit 3`, nil, nil, "exited with code 3", 3},
		"kill -9":        {`sleep 0.5; kill -9 $$`, nil, nil, "exited with code 137, killed by signal 9", 137},
		"kill -SEGV":     {`sleep 0.5; kill -SEGV $$`, nil, nil, "exited with code 139, killed by signal 11", 139},
		"TERM, ignored":  {`trap "" TERM; while :; do sleep 0.1; done`, []string{"--stop-timeout", "500ms"}, stop(syscall.SIGTERM), "stopped by signal 15, exited with code 137, killed by signal 9", 137},
		"TERM":           {`exec sleep 60`, nil, stop(syscall.SIGTERM), "stopped by signal 15, exited with code 143, killed by signal 15", 143},
		"TERM, answered": {`trap "exit 7" TERM; while :; do sleep 0.1; done`, nil, stop(syscall.SIGTERM), "stopped by signal 15, exited with code 7", 7},
		"INT":            {`trap "exit 0" INT; while :; do sleep 0.1; done`, nil, stop(syscall.SIGINT), "stopped by signal 2, exited with code 0", 0},
		"HUP, passed on": {`trap "exit 9" HUP; while :; do sleep 0.1; done`, nil, stop(syscall.SIGHUP), "exited with code 9", 9},
		"USR1, default":  {`exec sleep 60`, nil, stop(syscall.SIGUSR1), fmt.Sprintf("exited with code %d, killed by signal %d", 128+int(syscall.SIGUSR1), int(syscall.SIGUSR1)), 128 + int(syscall.SIGUSR1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			s := supervise(t, p, id, c.script, c.flags...)
			s.until("is registered")
			if i := p.live(s.key); i == nil || i.Ports["http"] != 8080 {
				t.Errorf("while it runs: %+v", i)
			}
			if c.act != nil {
				time.Sleep(200 * time.Millisecond) // the shell sets its traps
				c.act(t, s)
			}
			if code := s.code(); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, s.said)
			}
			if got := p.ended(s.key); got != c.reason {
				t.Errorf("the reason is %q, want %q", got, c.reason)
			}
			out, err := rollcall("why", "job/"+id, "--url", p.url)
			if err != nil || !strings.Contains(out, c.reason) {
				t.Errorf("why says %v:\n%s", err, out)
			}
		})
	}
}

func TestRunRegistersWhenTheCheckPasses(t *testing.T) {
	p := startServer(t, t.TempDir())
	var mu sync.Mutex
	status := http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
	}))
	defer server.Close()
	set := func(to int) {
		mu.Lock()
		defer mu.Unlock()
		status = to
	}
	s := supervise(t, p, "a", `exec sleep 60`, "--check", server.URL+"/healthz", "--check-interval", "1s", "--drain", "1s")
	s.until("is critical")
	if i := p.live(s.key); i != nil {
		t.Errorf("registered before the check passed: %+v", i)
	}
	set(200)
	s.until("is registered")
	if i := p.live(s.key); i == nil || i.Status != domain.Passing {
		t.Errorf("after the check passed: %+v", i)
	}
	waitFor := func(what string, holds func(*wire.Instance) bool) {
		t.Helper()
		for began := time.Now(); !holds(p.live(s.key)); time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s: %+v\n%s", what, p.live(s.key), s.said)
			}
		}
	}
	set(500)
	waitFor("the check fails", func(i *wire.Instance) bool { return i != nil && i.Status == domain.Critical })
	set(200)
	waitFor("the check passes", func(i *wire.Instance) bool { return i != nil && i.Status == domain.Passing })
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor("it drains", func(i *wire.Instance) bool { return i != nil && i.Traffic == domain.Draining })
	if code := s.code(); code != 143 || p.live(s.key) != nil {
		t.Errorf("exit code %d, registered %v", code, p.live(s.key))
	}
}

func TestRunStartsAProcessAgain(t *testing.T) {
	p := startServer(t, t.TempDir())
	count := filepath.Join(t.TempDir(), "count")
	s := supervise(t, p, "a", `echo x >> `+count+`; sleep 0.5; [ $(wc -l < `+count+`) -lt 2 ] && exit 4; exec sleep 60`, "--restart", "on-failure")
	s.until("epoch 2")
	if got := p.ended(s.key); got != "exited with code 4, is started again" {
		t.Errorf("the reason is %q", got)
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.code(); code != 143 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunWithoutARegistryRunsTheProcess(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "run", "--url", "http://127.0.0.1:1", "--service", "job", "--", "sh", "-c", "echo hello; exit 5").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(string(out), "hello") {
		t.Errorf("%v\n%s", err, out)
	}
	for want, args := range map[int][]string{
		127: {"run", "--service", "job", "--", "no-such-command-here"},
		126: {"run", "--service", "job", "--", "/"},
		2:   {"run", "--", "true"},
	} {
		err := exec.CommandContext(ctx, path, args...).Run()
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%q: %v, want %d", args, err, want)
		}
	}
	for _, args := range [][]string{
		{"--service", "job", "--restart", "maybe"}, {"--service", "job", "--port", "http=0"}, {"--service", "job", "--check", "ftp://x"},
		{"--service", "job", "--check", "/healthz"}, {"--service", "-"}, {"--service", "job", "--weight", "0"}, {"--service", "job", "--check-interval", "1ms", "--check", "tcp://127.0.0.1:1"},
	} {
		err := exec.CommandContext(ctx, path, append(append([]string{"run"}, args...), "--", "true")...).Run()
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: %v", args, err)
		}
	}
}
