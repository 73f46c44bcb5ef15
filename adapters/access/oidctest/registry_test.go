package oidctest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary builds the program once.
var binary = sync.OnceValues(func() (path string, err error) {
	if built, err = os.MkdirTemp("", "rollcall-oidctest-"); err != nil {
		return "", err
	}
	path = filepath.Join(built, "rollcall")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/rollcall")
	build.Dir = "../../.."
	build.Stderr = os.Stderr
	return path, build.Run()
})

var built string // the folder of the binary; "": no test needed it

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// registry is a running `rollcall serve`.
type registry struct {
	t    *testing.T
	url  string
	data string
}

func startRegistry(t *testing.T, rules string) *registry {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{t: t, data: t.TempDir()}
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--data", r.data, "--log-format", "json", "--access", "on", "--access-config", file, "--min-free-mib", "1")
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan string, 1), make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var entry struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "rollcall is ready" {
				ready <- entry.URL
			}
			log.Write(append(lines.Bytes(), '\n'))
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := server.Wait(); err != nil {
			t.Errorf("the server ends with %v", err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	select {
	case r.url = <-ready:
	case <-ended:
		t.Fatalf("the server ended at its start\n%s", log.String())
	case <-time.After(30 * time.Second):
		t.Fatal("the server is not ready within 30 s")
	}
	return r
}

// ask sends a request with a token.
func (r *registry) ask(token, method, path, body string) (status int, reply string, header http.Header) {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// admin makes a token of the registry itself, through its socket.
func (r *registry) admin() string {
	r.t.Helper()
	path, err := binary()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := exec.Command(path, "token", "create", "root", "--role", "admin", "--data", r.data).Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return regexp.MustCompile(`rollcall_[0-9a-f]{64}`).FindString(string(out))
}
