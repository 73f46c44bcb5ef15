package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// A pipe to which nobody writes, in the place of any file of a data folder, does not make a start wait: the start is refused, and names
// the file, or what can be made anew is put aside.
func TestAPipeInThePlaceOfAFileMakesNoStartWait(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := openFolder(t, data, func(n *node) { registerInstance(t, n, "a") }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "consumers", "webhooks.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{"events": true, "checkpoint.key": true}
	tried := map[string]bool{}
	err := filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		kind := filepath.Join(filepath.Dir(path), strings.TrimRight(strings.SplitN(e.Name(), ".", 2)[0], "0123456789")+filepath.Ext(path))
		if err != nil || !e.Type().IsRegular() || tried[kind] { // one file of each kind
			return err
		}
		tried[kind] = true
		name, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		folder, _, _ := strings.Cut(name, string(filepath.Separator))
		copied := filepath.Join(t.TempDir(), "data")
		pipe := filepath.Join(copied, name)
		if err := errors.Join(os.CopyFS(copied, os.DirFS(data)), os.Remove(pipe), syscall.Mkfifo(pipe, 0o600)); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- openFolder(t, copied, func(*node) {}) }()
		select {
		case err = <-ended:
		case <-time.After(20 * time.Second):
			if waiting, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil { // which ends the wait
				defer waiting.Close()
			}
			t.Fatalf("with a pipe in the place of %s the start waits", name)
		}
		var damaged durable.Damaged
		if isRefused := errors.Is(err, durable.ErrNotRegular) || errors.As(err, &damaged); isRefused != refused[folder] || err != nil && !strings.Contains(err.Error(), pipe) {
			t.Errorf("with a pipe in the place of %s: %v", name, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tried) < 12 {
		t.Errorf("only these were tried: %v", tried)
	}
}
