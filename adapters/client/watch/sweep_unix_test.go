//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package watch_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client/clienttest"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
)

// A process that is killed while it writes the cache leaves a file, which the next one removes.
func TestWhatAKilledWatcherLeftIsSwept(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "cache[1].json")
	left, others := []string{"cache[1].json.123.tmp", "cache[1].json.0.tmp"}, []string{"cache[1].json.backup.tmp", "cache[1].json.7.bak", "other.json.1.tmp", "cache1.json.1.tmp"}
	for _, name := range slices.Concat(left, others) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(`{"serv`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(file+".5.tmp", 0o600); err != nil {
		t.Fatal(err)
	}
	written, err := os.Create(file + ".99.tmp") // by another process now
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	if err := syscall.Flock(int(written.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	watching(t, watch.Options{Cache: file}, func(t *testing.T, r *clienttest.Registry, w *watch.Watcher) {
		r.Register("cart", "a", "10.0.0.1", 80)
		service(t, w, "cart")
	})
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := append(others, "cache[1].json", "cache[1].json.5.tmp", "cache[1].json.99.tmp")
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the folder has %q, not %q", names, want)
	}
}
