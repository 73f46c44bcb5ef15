package backup_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/backup"
)

// killed leaves in a folder what a backup leaves that is killed while it places its files.
func killed(t *testing.T, dir string, placed map[string]string) {
	t.Helper()
	var plan struct {
		Files []backup.File `json:"files"`
	}
	for path, content := range placed {
		sum := sha256.Sum256([]byte(content))
		plan.Files = append(plan.Files, backup.File{Name: path, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
		put(t, filepath.Join(dir, path), content)
	}
	b, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "incoming", "plan.json"), string(b))
	put(t, filepath.Join(dir, "incoming", "3"), "half of a fi")
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// The next backup removes what no manifest names, and no file that a backup did not put there as it is.
func TestWhatAKilledBackupLeftIsSwept(t *testing.T) {
	dir := t.TempDir()
	if err := take(t, first, dir); err != nil {
		t.Fatal(err)
	}
	killed(t, dir, map[string]string{"events/000009.sst": "table nine", "events/000010.sst": "table ten", "events/000004.sst": "table four"})
	put(t, filepath.Join(dir, "events/000010.sst"), "changed since")
	put(t, filepath.Join(dir, "mine.txt"), "mine")
	if err := take(t, first, dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"events/000009.sst": false, "events/000010.sst": true, "events/000004.sst": true, "mine.txt": true, "incoming": false} {
		if there(filepath.Join(dir, path)) != want {
			t.Errorf("%s is there: %v, want %v", path, !want, want)
		}
	}
	if _, err := backup.Verify(t.Context(), dir, func(_, _ int64) {}); err != nil {
		t.Error(err)
	}
}

// A first backup that was killed while it placed its files does not keep the next one out, but whatever else is in the
// folder does.
func TestAFirstBackupThatWasKilledIsBegunAnew(t *testing.T) {
	dir := t.TempDir()
	killed(t, dir, map[string]string{"events/000004.sst": "table four", "events/000099.sst": "table of yesterday"})
	if err := take(t, first, dir); err != nil {
		t.Fatal(err)
	}
	if there(filepath.Join(dir, "events/000099.sst")) {
		t.Error("a part that no manifest names is left")
	}
	if _, err := backup.Verify(t.Context(), dir, func(_, _ int64) {}); err != nil {
		t.Error(err)
	}
	for _, other := range []string{"mine.txt", "events/mine.txt"} {
		dir := t.TempDir()
		killed(t, dir, map[string]string{"events/000004.sst": "table four"})
		put(t, filepath.Join(dir, other), "mine")
		if err := take(t, first, dir); err == nil {
			t.Errorf("a folder with %s is taken", other)
		}
		if !there(filepath.Join(dir, other)) || !there(filepath.Join(dir, "events/000004.sst")) {
			t.Error("a folder that was refused was changed")
		}
	}
}

// A backup that was killed may leave empty folders, and the next one may be killed before its plan is written. What another has put in
// the folder keeps every backup out.
func TestWhateverAKilledFirstBackupLeftTheNextOneIsBegun(t *testing.T) {
	for name, left := range map[string]map[string]string{
		"empty folders":                        {"events/": ""},
		"empty folders and parts that arrived": {"events/": "", "incoming/0": "a", "incoming/12": "b"},
		"no plan yet":                          {"events/": "", "incoming/0": "a", "incoming/.plan.json1823": "{"},
		"a manifest that is not in place":      {"incoming/plan.json": `{"files":[]}`, "incoming/manifest.json": "{", "incoming/.manifest.json55": "{"},
	} {
		dir := t.TempDir()
		for path, content := range left {
			if strings.HasSuffix(path, "/") {
				path += "none"
			}
			put(t, filepath.Join(dir, path), content)
			if content == "" {
				if err := os.Remove(filepath.Join(dir, path)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := take(t, first, dir); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := backup.Verify(t.Context(), dir, func(_, _ int64) {}); err != nil || there(filepath.Join(dir, "incoming")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"incoming/letter.txt", "incoming/2024/1", "incoming/0/1", "incoming/plan.json.old"} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, path), "mine")
		if err := take(t, first, dir); err == nil || !there(filepath.Join(dir, path)) {
			t.Errorf("a folder with %s is taken: %v", path, err)
		}
	}
}
