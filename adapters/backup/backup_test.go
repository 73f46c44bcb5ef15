package backup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/backup"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// files are a folder's files by name.
type files map[string]string

// Checkpoint implements backup.Checkpointer.
func (f files) Checkpoint(dir string) error {
	for name, content := range f {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// store is an event store of a few files.
type store struct {
	files
	id uuid.UUID
}

func (s store) ID() uuid.UUID                { return s.id }
func (s store) Durable() eventstore.Position { return 7 }

var first = store{files{"MANIFEST-000001": "m1", "000004.sst": "table four", "000005.log": "log"}, uuid.UUID{1}}

// second is first after a while: a table more, one less, and files of the same names that differ.
var second = store{files{"MANIFEST-000001": "m1 and more", "000005.log": "", "000006.sst": "table six"}, uuid.UUID{1}}

func source(t *testing.T, s store) backup.Source {
	t.Helper()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "checkpoint.key"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return backup.Source{Store: s, Folders: map[string]backup.Checkpointer{"history": files{"h": "istory"}}, Files: []string{"*.key", "consumers/*.json"},
		Data: data, Now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }}
}

func archive(t *testing.T, s store, have []backup.File) []byte {
	t.Helper()
	var b bytes.Buffer
	src := source(t, s)
	if err := src.Write(&b, have); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(src.Data); err != nil || len(left) != 1 {
		t.Fatalf("the data folder holds %v after a backup: %v", left, err)
	}
	return b.Bytes()
}

func take(t *testing.T, s store, dir string) error {
	t.Helper()
	target, err := backup.OpenTarget(t.Context(), dir)
	if err != nil {
		return err
	}
	_, err = target.Receive(t.Context(), bytes.NewReader(archive(t, s, target.Have())), func(int64) {})
	return err
}

func mustTake(t *testing.T, s store, dir string) {
	t.Helper()
	if err := take(t, s, dir); err != nil {
		t.Fatal(err)
	}
}

func noFinish(string, backup.Manifest) error { return nil }

func none(int64, int64) {}

// wantRestored restores a backup and compares it with the store that it was made of.
func wantRestored(t *testing.T, dir string, s store) {
	t.Helper()
	if _, err := backup.Verify(t.Context(), dir, none); err != nil {
		t.Errorf("the backup does not verify: %v", err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if _, err := backup.Restore(t.Context(), dir, data, none, noFinish); err != nil {
		t.Fatal(err)
	}
	want := files{"checkpoint.key": "secret", "history/h": "istory"}
	for name, content := range s.files {
		want["events/"+name] = content
	}
	if got := contents(t, data); !maps.Equal(got, want) {
		t.Errorf("restored is %v, want %v", got, want)
	}
}

func contents(t *testing.T, dir string) files {
	t.Helper()
	all := files{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		b, err := os.ReadFile(path)
		all[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestABackupIsTakenAgainAndAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "backup")
	for _, s := range []store{first, second, second, first, second} {
		mustTake(t, s, dir)
		wantRestored(t, dir, s)
	}
	if got := contents(t, dir); len(got) != len(second.files)+3 {
		t.Errorf("files of earlier backups are left: %v", slices.Sorted(maps.Keys(got)))
	}
}

func TestTablesAndTheirValuesAreNotSentAgain(t *testing.T) {
	dir := t.TempDir()
	s := store{files{"MANIFEST-000001": "m1", "000004.sst": "table four", "000005.blob": "values five"}, uuid.UUID{1}}
	mustTake(t, s, dir)
	target, err := backup.OpenTarget(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	again := archive(t, s, target.Have())
	for _, name := range []string{"000004.sst", "000005.blob"} {
		if bytes.Contains(again, []byte(s.files[name])) {
			t.Errorf("%s is sent again", name)
		}
	}
}

func TestAFolderWithOtherThingsInItIsRefusedAndLeftAlone(t *testing.T) {
	for name, content := range map[string]files{
		"somebody's home":      {"letter.txt": "dear", "photos/1.jpg": "jpg"},
		"a data folder":        {"events/MANIFEST-000001": "m", "checkpoint.key": "k"},
		"another's manifest":   {"manifest.json": `{"name":"web app"}`, "index.html": "<html>"},
		"a broken manifest":    {"manifest.json": `{"store_id":`},
		"another store's":      nil,
		"a manifest and a lie": {"manifest.json": `{"store_id":"01000000-0000-0000-0000-000000000000","files":[{"name":"../letter.txt"},{"name":"events/MANIFEST-1"}]}`},
	} {
		dir := t.TempDir()
		if content == nil {
			mustTake(t, store{first.files, uuid.UUID{9}}, dir)
		} else if err := content.Checkpoint(dir); err != nil {
			t.Fatal(err)
		}
		before := contents(t, dir)
		if err := take(t, first, dir); err == nil {
			t.Errorf("%s was taken for a backup's folder", name)
		}
		if after := contents(t, dir); !maps.Equal(before, after) {
			t.Errorf("%s was changed from %v to %v", name, before, after)
		}
	}
}

func TestOnlyWhatAManifestNamesIsRemoved(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	stray := files{"README": "our backups", "events/notes.txt": "mine", "old/000004.sst": "x"}
	if err := stray.Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	mustTake(t, second, dir)
	wantRestored(t, dir, second)
	got := contents(t, dir)
	for name, content := range stray {
		if got[name] != content {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	if _, there := got["events/000004.sst"]; there {
		t.Error("a table that no backup needs is left")
	}
}

// Wherever a new backup breaks off, the earlier one is whole, and the next run succeeds.
func TestTheEarlierBackupStaysWholeUntilTheNewOneIs(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	target, err := backup.OpenTarget(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	whole := archive(t, second, target.Have())
	for cut := 0; cut < bytes.LastIndex(whole, []byte(`"sum"`)); cut += 256 { // the manifest comes last
		target, err := backup.OpenTarget(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Receive(t.Context(), bytes.NewReader(whole[:cut]), func(int64) {}); err == nil {
			t.Fatalf("an archive cut at %d of %d was taken for whole", cut, len(whole))
		}
		if _, err := backup.Verify(t.Context(), dir, none); err != nil {
			t.Fatalf("after an archive cut at %d: %v", cut, err)
		}
	}
	wantRestored(t, dir, first)
	// A run that was killed leaves what had arrived.
	if err := (files{"incoming/0": "half"}).Checkpoint(dir); err != nil {
		t.Fatal(err)
	}
	mustTake(t, second, dir)
	wantRestored(t, dir, second)
	if _, err := os.Stat(filepath.Join(dir, "incoming")); err == nil {
		t.Error("what a killed run left is still there")
	}
}

func TestAnIncrementalRunRepairsWhatIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"a flipped byte": func(path string) error { return os.WriteFile(path, []byte("tablE four"), 0o600) },
		"cut short":      func(path string) error { return os.Truncate(path, 3) },
		"missing":        os.Remove,
	} {
		dir := t.TempDir()
		mustTake(t, first, dir)
		if err := damage(filepath.Join(dir, "events", "000004.sst")); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Verify(t.Context(), dir, none); err == nil || !strings.Contains(err.Error(), "000004.sst") && name != "missing" {
			t.Errorf("%s: verify gave %v", name, err)
		}
		data := filepath.Join(t.TempDir(), "data")
		if _, err := backup.Restore(t.Context(), dir, data, none, noFinish); err == nil {
			t.Errorf("%s: it was restored", name)
		}
		if left, err := os.ReadDir(filepath.Dir(data)); err != nil || len(left) != 0 {
			t.Errorf("%s: a failed restore left %v", name, left)
		}
		mustTake(t, first, dir)
		wantRestored(t, dir, first)
	}
}

// After a restore a store gives its table numbers again, to other tables, perhaps of the same size.
func TestATableOfTheSameNameAndSizeIsNotTakenForTheSame(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	other := store{maps.Clone(first.files), first.id}
	other.files["000004.sst"] = "TABLE FOUR"
	mustTake(t, other, dir)
	wantRestored(t, dir, other)
}

func TestAManifestThatLacksAFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	path := filepath.Join(dir, backup.ManifestName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m backup.Manifest
	if err := json.Unmarshal(whole, &m); err != nil {
		t.Fatal(err)
	}
	for i := range m.Files {
		less := m
		less.Files = slices.Delete(slices.Clone(m.Files), i, i+1)
		b, _ := json.Marshal(less)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(t.TempDir(), "data")
		if _, err := backup.Restore(t.Context(), dir, data, none, noFinish); err == nil {
			t.Errorf("a manifest without %s was restored", m.Files[i].Name)
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("a manifest without %s left a data folder", m.Files[i].Name)
		}
	}
}

// A backup of an earlier version has neither sums nor places of its own for files.
func TestAnEarlierVersionsBackupIsRestoredAndContinued(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	path := filepath.Join(dir, backup.ManifestName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "sum")
	delete(m, "whole")
	delete(m, "format")
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRestored(t, dir, first)
	mustTake(t, second, dir)
	wantRestored(t, dir, second)
}

// A later version may mean other things by what this version can read.
func TestABackupOfALaterFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	path := filepath.Join(dir, backup.ManifestName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for with, want := range map[string]string{
		`"format": 2`: "later version", `"format": 2, "files": {"elsewhere": true}`: "later version", `"format": -1`: "no version", `"format": "2"`: "cannot be read",
	} {
		if err := os.WriteFile(path, []byte(strings.Replace(string(whole), `"format": 1`, with, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(t.TempDir(), "data")
		_, restored := backup.Restore(t.Context(), dir, data, none, noFinish)
		_, verified := backup.Verify(t.Context(), dir, none)
		_, taken := backup.OpenTarget(t.Context(), dir)
		for _, err := range []error{restored, verified, taken} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("with %s: %v, want %q", with, err, want)
			}
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("with %s a data folder is left", with)
		}
	}
}

// A read of a pipe waits for a writer, and a device may have no end.
func TestWhatIsNoFileInABackupIsDamage(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"a pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		mustTake(t, first, dir)
		path := filepath.Join(dir, "events", "000004.sst")
		if err := errors.Join(os.Remove(path), replace(path)); err != nil {
			t.Fatal(err)
		}
		_, restored := backup.Restore(t.Context(), dir, filepath.Join(t.TempDir(), "data"), none, noFinish)
		_, verified := backup.Verify(t.Context(), dir, none)
		for _, err := range []error{restored, verified} {
			if err == nil || !strings.Contains(err.Error(), "events/000004.sst is damaged: it is no file") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The system's own error would be that a folder cannot be renamed, or that it exists.
func TestALinkThatLeadsNowhereIsNoFolder(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	mustTake(t, first, dir)
	if err := os.Symlink(filepath.Join(t.TempDir(), "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	_, restored := backup.Restore(t.Context(), dir, link, none, noFinish)
	_, taken := backup.OpenTarget(t.Context(), link)
	for _, err := range []error{restored, taken} {
		if err == nil || !strings.Contains(err.Error(), "is a symbolic link to ") {
			t.Errorf("%v", err)
		}
	}
}

func TestARestoreThatFailsLeavesTheFolderAsItWas(t *testing.T) {
	dir := t.TempDir()
	mustTake(t, first, dir)
	refused := errors.New("the store does not open")
	finish := func(folder string, _ backup.Manifest) error {
		if len(contents(t, folder)) != len(first.files)+2 {
			t.Error("finish was called before all files were there")
		}
		return refused
	}
	empty := t.TempDir()
	absent := filepath.Join(t.TempDir(), "a", "b")
	for _, data := range []string{empty, absent} {
		if _, err := backup.Restore(t.Context(), dir, data, none, finish); !errors.Is(err, refused) {
			t.Errorf("it gave %v", err)
		}
		if left, err := os.ReadDir(data); err == nil && len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("the data folder was made")
	}
	// An empty folder that is there, as a mount would be, is restored into; so is one that a killed restore left.
	if err := (files{".restoring-1/events/x": "half"}).Checkpoint(empty); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), dir, empty, none, noFinish); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, empty); len(got) != len(first.files)+2 {
		t.Errorf("restored is %v", got)
	}
	if _, err := backup.Restore(t.Context(), dir, empty, none, noFinish); err == nil {
		t.Error("a folder in use was restored into")
	}
}

func TestSweepRemovesWhatKilledBackupsLeft(t *testing.T) {
	data := t.TempDir()
	if err := (files{"backup-scratch-12/events/x": "link", "events/y": "kept", "backup-notes/z": "kept"}).Checkpoint(data); err != nil {
		t.Fatal(err)
	}
	if err := backup.Sweep(data); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, data); len(got) != 2 {
		t.Errorf("left is %v", got)
	}
}
