package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
