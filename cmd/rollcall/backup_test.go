package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestABackupNeverDestroysWhatItIsPointedAt(t *testing.T) {
	data := t.TempDir()
	p := startServer(t, data)
	if status, b, err := p.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
		t.Fatal(status, err, string(b))
	}
	home := t.TempDir()
	letter := filepath.Join(home, "letter.txt")
	if err := os.WriteFile(letter, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, want string }{
		{home, "holds no backup"}, {data, "must not lie in each other"}, {filepath.Join(data, "backup"), "must not lie in each other"},
		{link, "must not lie in each other"}, {filepath.Dir(data), "must not lie in each other"},
	} {
		if out, err := rollcall("backup", c.dir, "--data", data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a backup into %s gave %v\n%s", c.dir, err, out)
		}
	}
	if b, err := os.ReadFile(letter); err != nil || string(b) != "dear" {
		t.Errorf("the letter is %q: %v", b, err)
	}
	if got := p.instances("web"); len(got) != 1 {
		t.Errorf("the registry has %v", got)
	}
	typo := filepath.Join(t.TempDir(), "typo")
	dir := filepath.Join(t.TempDir(), "backup")
	if out, err := rollcall("backup", dir, "--data", typo); err == nil || !strings.Contains(err.Error(), "not a data folder") {
		t.Errorf("a data folder that is not there gave %v\n%s", err, out)
	}
	for _, path := range []string{typo, dir} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was made", path)
		}
	}
}

// A proxy on the registry's machine passes on others' requests: over TCP there is no backup for anyone.
func TestABackupIsGivenThroughTheSocketOnly(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 9)) // beyond what a socket's address may be
	p := startServer(t, data)
	if status, b, err := p.send("POST", "/v1/backup", `{}`); err != nil || status != 403 || !strings.Contains(string(b), "local-only") {
		t.Errorf("over TCP: %d, %v, %s", status, err, b)
	}
	info, err := os.Stat(filepath.Join(data, socketName))
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the socket is %v: %v", info, err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	if out, err := rollcall("backup", dir, "--data", data); err != nil {
		t.Errorf("through the socket: %v\n%s", err, out)
	}
	if out, err := rollcall("backup", "verify", dir); err != nil || !strings.Contains(out, "is whole") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	for _, inside := range []string{dir, filepath.Join(dir, "data"), filepath.Join(dir, "events", "data")} {
		if out, err := rollcall("restore", dir, "--data", inside); err == nil || !strings.Contains(err.Error(), "must not lie in each other") {
			t.Errorf("a restore into the backup: %v\n%s", err, out)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(t.TempDir(), "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := runHere(t, "serve", "--data", link, "--listen", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "is a symbolic link to ") {
		t.Errorf("a data folder that leads nowhere: %v", err)
	}
}
