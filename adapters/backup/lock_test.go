package backup_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/backup"
)

// A restore that was killed leaves a folder with copies of the events and the keys beside the data folder. The next restore of the same
// data folder removes it, and those of other data folders stay.
func TestARestoreRemovesWhatAKilledOneLeft(t *testing.T) {
	dir, beside := filepath.Join(t.TempDir(), "b"), t.TempDir()
	mustTake(t, first, dir)
	for _, name := range []string{".restoring-data-77", ".restoring-data-5-77", ".restoring-other-77", ".restoring-data-mine"} {
		if err := os.MkdirAll(filepath.Join(beside, name, "events"), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(beside, "data")
	if _, err := backup.Restore(t.Context(), dir, data, none, noFinish); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, data); got["events/000005.log"] != "log" {
		t.Errorf("restored is %v", got)
	}
	entries, err := os.ReadDir(beside)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if len(left) != 4 || left[3] != "data" {
		t.Errorf("there are %v", left)
	}
}

// Of two backups to one folder at a time, or one after the other that looked at the folder at the same time, one is refused, and the other
// one is whole.
func TestOneBackupAtATimeIsWrittenToAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	mustTake(t, first, dir)
	open := func() *backup.Target {
		target, err := backup.OpenTarget(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	early, late := open(), open()
	begun, refused, slow := make(chan bool), make(chan bool), archive(t, first, early.Have())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := early.Receive(t.Context(), r, func(int64) {})
		ended <- err
	}()
	go func() {
		_, err := w.Write(slow[:1024]) // the folder is locked when this is read
		close(begun)
		<-refused
		_, more := w.Write(slow[1024:])
		w.CloseWithError(errors.Join(err, more))
	}()
	<-begun
	if _, err := late.Receive(t.Context(), bytes.NewReader(archive(t, second, late.Have())), func(int64) {}); err == nil {
		t.Error("two backups at a time were written")
	}
	close(refused)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	wantRestored(t, dir, first)
	early, late = open(), open()
	if _, err := early.Receive(t.Context(), bytes.NewReader(archive(t, second, early.Have())), func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Receive(t.Context(), bytes.NewReader(archive(t, first, late.Have())), func(int64) {}); err == nil {
		t.Error("a backup was written that leaves out files which another one has removed")
	}
	wantRestored(t, dir, second)
}
