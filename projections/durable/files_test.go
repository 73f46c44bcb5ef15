package durable

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What would have its reader wait is found before it is opened.
func TestAFolderIsLookedThroughForWhatIsNoFile(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":        func(path string) error { return os.WriteFile(path, []byte("abc"), 0o600) },
		"a folder":      func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":        func(path string) error { return os.Symlink(filepath.Dir(path), path) },
		"a broken link": func(path string) error { return os.Symlink("nowhere", path) },
		"no: a pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"no: a device":  func(path string) error { return os.Symlink("/dev/zero", path) },
		"no: a pipe too": func(path string) error {
			return errors.Join(syscall.Mkfifo(path+".p", 0o600), os.Symlink(path+".p", path))
		},
		"no: a socket": func(path string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		},
	} {
		dir, err := os.MkdirTemp("", "f") // a socket's address is short
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "000001.log")
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "LOCK"), nil, 0o600), put(path)); err != nil {
			t.Fatal(name, err)
		}
		if err := CheckFiles(dir); strings.HasPrefix(name, "no: ") != errors.Is(err, ErrNotRegular) || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if err := CheckFiles(filepath.Join(t.TempDir(), "nothing")); err != nil {
		t.Errorf("of no folder: %v", err)
	}
}
