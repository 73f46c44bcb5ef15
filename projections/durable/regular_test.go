package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What is no file is refused at once: to open a pipe to which nobody writes would wait.
func TestOnlyARegularFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("abc"), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{file: nil, pipe: ErrNotRegular, dir: ErrNotRegular, "/dev/null": ErrNotRegular, filepath.Join(dir, "nothing"): fs.ErrNotExist} {
		f, info, err := OpenRegular(path)
		if !errors.Is(err, want) || want == nil && info.Size() != 3 {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if f != nil {
			_ = f.Close()
		}
	}
}

// A file that a setting names is read whole, and nothing else is: not a pipe, not a device, and not what would fill the memory.
func TestOnlyARegularFileOfABoundedLengthIsRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadRegular(path); err != nil || string(b) != "content" {
		t.Errorf("it gives %q, %v", b, err)
	}
	if err := os.Truncate(path, MaxRegular); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadRegular(path); err != nil || len(b) != MaxRegular {
		t.Errorf("the longest file gives %d bytes, %v", len(b), err)
	}
	if err := os.Truncate(path, 1<<40); err != nil { // it takes no space
		t.Fatal(err)
	}
	if _, err := ReadRegular(path); err == nil || !strings.Contains(err.Error(), path+" must have at most") {
		t.Errorf("a file that is too long gives %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{pipe, dir, "/dev/null"} {
		if _, err := ReadRegular(other); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), other) {
			t.Errorf("%s gives %v", other, err)
		}
	}
}
