package durable

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFolderIsThereOrCanBeMade(t *testing.T) {
	at := func(name string) string { return filepath.Join(t.TempDir(), name) }
	there, file, dangling, linked, round := t.TempDir(), at("file"), at("dangling"), at("linked"), at("round")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{dangling: at("nowhere"), linked: there, round: round} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		there: "", linked: "", at("new"): "", file: "is no folder", dangling: "which does not exist", round: "too many levels", filepath.Join(file, "below"): "not a directory",
	} {
		err := CheckFolder(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
