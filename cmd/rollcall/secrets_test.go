package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// planted are secrets that a test gives to the registry, and then looks for in all that it puts out.
type planted struct {
	t       *testing.T
	secrets map[string]string // by what they are
}

// look finds the secrets in a text, as they are or in base64.
func (p planted) look(where string, text []byte) {
	p.t.Helper()
	for what, secret := range p.secrets {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
			if bytes.Contains(text, []byte(form)) {
				p.t.Errorf("%s shows %s", where, what)
			}
		}
	}
}

// lookInFolder looks in every file.
func (p planted) lookInFolder(where, dir string) {
	p.t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		p.look(where+", "+e.Name(), append(b, path...))
		return err
	})
	if err != nil {
		p.t.Error(err)
	}
}

// Secrets that the registry was told are in nothing that it puts out: not in the log at its finest, nor in events, the
// history, metrics, answers of others' routes, its data folder or a backup.
func TestNoOutputShowsASecret(t *testing.T) {
	t.Parallel()
	p := planted{t, map[string]string{
		"the broker's password": "pl4nted-broker", "a path of a target": "pl4nted-path", "a query of a target": "pl4nted-query",
		"a signing secret": base64.StdEncoding.EncodeToString([]byte("pl4nted-signing-secret-0123456789")), "a token in a query": "pl4nted-parameter",
	}}
	data := t.TempDir()
	server := startServer(t, data, "--access", "on", "--log-level", "debug", "--webhook-allow-private", "--publish", "nats://rollcall:pl4nted-broker@127.0.0.1:1/events", "--publish", "redis://rollcall:pl4nted-broker@127.0.0.1:1/events")
	socket := []string{"--data", data}
	must := func(env []string, args ...string) string {
		t.Helper()
		out, errs, code := run(t, env, args...)
		if code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	token := secret.FindString(must(nil, append([]string{"token", "create", "root", "--role", "admin"}, socket...)...))
	p.secrets["a token"] = token
	target := "http://127.0.0.1:1/hooks/pl4nted-path?token=pl4nted-query"
	body := fmt.Sprintf(`{"url":%q,"secret":"whsec_%s"}`, target, p.secrets["a signing secret"])
	ask := func(method, path, body string) []byte {
		t.Helper()
		r, err := http.NewRequest(method, server.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	created := ask("POST", "/v1/webhooks", body)
	id := regexp.MustCompile(`"id":"([^"]+)"`).FindSubmatch(created)
	if id == nil {
		t.Fatalf("the webhook is %s", created)
	}
	hook := "/v1/webhooks/" + string(id[1])
	if shown := ask("GET", hook, ""); !bytes.Contains(shown, []byte("pl4nted-path")) || bytes.Contains(shown, []byte("whsec")) {
		t.Errorf("who may manage webhooks sees %s", shown)
	}
	ask("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`)
	var attempts []byte
	for end := time.Now().Add(20 * time.Second); !bytes.Contains(attempts, []byte("refused")) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		attempts = ask("GET", hook+"/deliveries", "")
	}
	if !bytes.Contains(attempts, []byte("refused")) {
		t.Errorf("no attempt failed: %s", attempts)
	}
	p.look("the attempts", attempts)
	p.look("an answer to a bad webhook", ask("POST", "/v1/webhooks", strings.Replace(body, "http:", "ftp:", 1)))
	for _, path := range []string{"/v1/events?after=0", "/v1/history", hook + "/history", "/metrics", "/v1/status", "/v1/access/tokens", "/v1/services?token=pl4nted-parameter", "/v1/nothing?access_token=pl4nted-parameter"} {
		p.look(path, ask("GET", path, ""))
	}
	ask("GET", "/v1/services/"+token+"/instances", "") // the log must not have it
	env := []string{"ROLLCALL_TOKEN=" + token}
	for _, args := range [][]string{{"events", "export", filepath.Join(t.TempDir(), "events")}, {"history"}, {"status"}, {"token", "list"}, {"token", "revoke", "nobody"}, {"webhooks", "create", strings.Replace(target, "http:", "ftp:", 1)}} {
		out, errs, _ := run(t, env, append(args, "--url", server.url)...)
		p.look("rollcall "+args[0], []byte(strings.ReplaceAll(out+errs, "ftp"+target[4:], "")))
	}
	folder := filepath.Join(t.TempDir(), "backup")
	p.look("rollcall backup", []byte(must(nil, append([]string{"backup", folder}, socket...)...)))
	p.lookInFolder("the backup", folder)
	p.lookInFolder("the data folder", data)
	if err := server.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	p.look("the log", []byte(server.logs.String()))
	if !bytes.Contains([]byte(server.logs.String()), []byte(`"query":"token=REDACTED"`)) {
		t.Error("the log has no line of the request with a token in its query")
	}
	for _, args := range [][]string{
		{"--store", "esbd://admin:pl4nted-store@127.0.0.1:1"}, {"--store", "esdb://admin:pl4nted-store@127.0.0.1:1?tls=maybe"}, {"--store", "esdb://admin:pl4nted-store@127.0.0.1:port"},
		{"--publish", "nats://admin:pl4nted-store@127.0.0.1:1"}, {"--publish", "nats://admin:pl4nted-store@127.0.0.1:port/x"}, {"--publish", "nats://admin:pl4nted-store@127.0.0.1:1/x?type=Nothing"},
	} {
		out, errs, code := run(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir()}, args...)...)
		if code == 0 || strings.Contains(out+errs, "pl4nted-store") {
			t.Errorf("%v: exit code %d: %s%s", args, code, out, errs)
		}
	}
}
