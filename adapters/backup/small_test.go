package backup_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/backup"
)

// What is no file among the small files is left out: the registry wrote none there, and to read a pipe would wait. A key is missed.
func TestABackupWaitsForNoPipe(t *testing.T) {
	src := source(t, first)
	consumers := filepath.Join(src.Data, "consumers")
	if err := errors.Join(os.MkdirAll(filepath.Join(consumers, "folder.json"), 0o750), syscall.Mkfifo(filepath.Join(consumers, "pipe.json"), 0o600),
		os.WriteFile(filepath.Join(consumers, "file.json"), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := src.Write(&b, nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "b")
	target, err := backup.OpenTarget(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Receive(t.Context(), &b, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if has := contents(t, dir); has["consumers/file.json"] != "{}" || has["consumers/pipe.json"] != "" {
		t.Errorf("the backup has %v", has)
	}
	src.Files = []string{"webhooks.key"}
	if err := syscall.Mkfifo(filepath.Join(src.Data, "webhooks.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := src.Write(&bytes.Buffer{}, nil); err == nil {
		t.Error("a backup without the key is taken for whole")
	}
}
