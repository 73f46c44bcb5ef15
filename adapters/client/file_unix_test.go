//go:build unix

package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// A token, a certificate or a key is a file of a bounded length: nothing waits for a pipe, or reads a device without an end.
func TestFilesOfTheClientAreRegularAndBounded(t *testing.T) {
	pipe, long := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "long")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(long, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(long, 1<<40); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{pipe: "is no file", "/dev/zero": "is no file", t.TempDir(): "is no file", long: "must have at most"} {
		c, err := client.New("http://127.0.0.1:1", client.Options{TokenFile: path})
		if err == nil {
			_, err = c.Services(t.Context(), "", "")
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the token's file %s: %v", path, err)
		}
		if _, err := client.TLS(path, "", ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the authorities' file %s: %v", path, err)
		}
		if _, err := client.TLS("", path, path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the certificate's file %s: %v", path, err)
		}
	}
}
