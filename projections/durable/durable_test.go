package durable_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "key")
	for _, content := range []string{"first", "second, which is longer", "3"} {
		if err := durable.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Fatalf("the file holds %q: %v", b, err)
		}
	}
	broken := errors.New("no space left")
	err := durable.Write(path, 0o600, func(w io.Writer) error {
		_, _ = w.Write([]byte("half of it"))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("a write that failed gave %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "3" {
		t.Errorf("a write that failed left %q", b)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("%d files are left: %v, %v", len(files), files, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v: %v", info.Mode(), err)
	}
}

func TestAFolderOrAPipeInThePlaceOfAFileIsADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := durable.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	var damaged durable.Damaged
	if _, err := durable.ReadFile(path); !errors.As(err, &damaged) || damaged.Path != path {
		t.Errorf("of a folder: %v", err)
	}
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.ReadFile(path); !errors.As(err, &damaged) || damaged.Path != path {
		t.Errorf("of a pipe: %v", err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("content"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if b, err := durable.ReadFile(path); err != nil || string(b) != "content" {
		t.Errorf("of a file: %q, %v", b, err)
	}
}
