package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A read of a pipe waits for a writer, and a device may have no end.
func TestWhatIsNoFileDefinesNothing(t *testing.T) {
	dir := t.TempDir()
	pipe, device, large := filepath.Join(dir, "pipe.yaml"), filepath.Join(dir, "device.yaml"), filepath.Join(dir, "large.yaml")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("/dev/zero", device), os.WriteFile(large, nil, 0o600), os.Truncate(large, maxFile+1)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "is no file", device: "is no file", large: "must have at most"} {
		if _, err := ReadFile(path, Defaults{}); !errors.As(err, new(*BadFile)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
