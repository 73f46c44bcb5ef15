package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Every file of the folders that can be made anew is cut, changed and missing in turn: the real binary starts, takes
// commands, and has the catalog that it had.
func TestTheServerStartsOnDamagedFoldersThatCanBeMadeAnew(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	p := startServer(t, whole, "--webhook-allow-private")
	if status, b, err := p.send("PUT", "/v1/services/web/instances/kept", `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
		t.Fatal(status, err, string(b))
	}
	if status, b, err := p.send("POST", "/v1/webhooks", `{"url":"http://127.0.0.1:1/x","from":"0"}`); err != nil || status != 201 {
		t.Fatal(status, err, string(b))
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, folder := range []string{"history", "deliveries", "snapshots", "consumers"} {
		err := filepath.WalkDir(filepath.Join(whole, folder), func(path string, e fs.DirEntry, err error) error {
			if info, infoErr := e.Info(); err == nil && infoErr == nil && e.Type().IsRegular() && info.Size() > 0 {
				rel, relErr := filepath.Rel(whole, path)
				files, err = append(files, rel), relErr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 6 {
		t.Fatalf("only %v to damage", files)
	}
	for i, file := range files {
		damage := [...]string{"cut", "changed", "missing"}[i%3]
		damages := []string{damage}
		if os.Getenv("ROLLCALL_TORTURE") != "" {
			damages = []string{"cut", "changed", "missing"}
		}
		for _, damage := range damages {
			t.Run(file+" "+damage, func(t *testing.T) {
				data := filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(data, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				damageFile(t, filepath.Join(data, file), damage)
				p := startServer(t, data, "--webhook-allow-private")
				if status, b, err := p.send("PUT", "/v1/services/web/instances/new", `{"address":"10.0.0.6","ttl":"1h"}`); err != nil || status != 201 {
					t.Error(status, err, string(b))
				}
				if _, b, err := p.send("GET", "/v1/catalog", ""); err != nil || !strings.Contains(string(b), `"kept"`) || !strings.Contains(string(b), `"new"`) {
					t.Errorf("the catalog is %s, %v", b, err)
				}
				if err := p.end(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
				aside, err := filepath.Glob(filepath.Join(data, "*.bad*"))
				inside, errInside := filepath.Glob(filepath.Join(data, "*", "*.bad*"))
				if err != nil || errInside != nil {
					t.Fatal(err, errInside)
				}
				if n := len(aside) + len(inside); n > 0 && !strings.Contains(p.logs.String(), ".bad") {
					t.Errorf("the log does not tell of %v %v:\n%s", aside, inside, p.logs)
				}
			})
		}
	}
}

// A file in the place of each folder that can be made anew, and a folder in the place of each file: the real binary puts it aside, says
// so, and goes on.
func TestTheServerStartsWhereFilesAndFoldersHaveChangedPlaces(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	p := startServer(t, whole)
	if status, b, err := p.send("PUT", "/v1/services/web/instances/kept", `{"address":"10.0.0.5","ttl":"1h"}`); err != nil || status != 201 {
		t.Fatal(status, err, string(b))
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	snapshots, err := filepath.Glob(filepath.Join(whole, "snapshots", "*"))
	if err != nil || len(snapshots) == 0 {
		t.Fatal(snapshots, err)
	}
	snapshot := filepath.Join("snapshots", filepath.Base(snapshots[0]))
	for _, name := range []string{"history", "deliveries", "snapshots", "consumers", snapshot, snapshot + ".bad", "consumers/webhooks.log", "consumers/webhooks.log.bad", "webhooks.key", socketName} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(data, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(data, name)
			info, err := os.Stat(path)
			folder := err != nil || !info.IsDir() // what comes in its place
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if folder {
				err = os.MkdirAll(filepath.Join(path, "in", "it"), 0o755)
			} else {
				err = os.WriteFile(path, []byte("no folder"), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".bad") { // what is in the way when its neighbour is put aside
				damageFile(t, strings.TrimSuffix(path, ".bad"), "changed")
			}
			p := startServer(t, data)
			if status, b, err := p.send("PUT", "/v1/services/web/instances/new", `{"address":"10.0.0.6","ttl":"1h"}`); err != nil || status != 201 {
				t.Error(status, err, string(b))
			}
			if _, b, err := p.send("GET", "/v1/catalog", ""); err != nil || !strings.Contains(string(b), `"kept"`) || !strings.Contains(string(b), `"new"`) {
				t.Errorf("the catalog is %s, %v", b, err)
			}
			if _, errs, code := run(t, nil, "status", "--data", data); code != 0 {
				t.Errorf("through the socket: %s", errs)
			}
			if err := p.end(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if logs := p.logs.String(); !strings.Contains(logs, "aside") {
				t.Errorf("the log does not tell:\n%s", logs)
			}
		})
	}
}

func damageFile(t *testing.T, path, how string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "cut":
		err = os.Truncate(path, int64(len(b)/2))
	case "missing":
		err = os.Remove(path)
	case "changed":
		for i := range b {
			b[i] ^= 0x55
		}
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
