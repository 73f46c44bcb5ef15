package backup_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/backup"
)

// Whatever byte of a manifest is changed: the backup is refused, or says what it said before. The time of a backup is told by the log of
// the restored registry.
func TestNoChangedByteOfAManifestIsBelieved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	mustTake(t, first, dir)
	path := filepath.Join(dir, backup.ManifestName)
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := backup.Verify(t.Context(), dir, none)
	if err != nil {
		t.Fatal(err)
	}
	for i := range written {
		changed := bytes.Clone(written)
		changed[i] ^= 1 << (i % 7)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := backup.Verify(t.Context(), dir, none)
		if err == nil && (m.StoreID != want.StoreID || m.Position != want.Position || !m.CreatedAt.Equal(want.CreatedAt) || len(m.Files) != len(want.Files)) {
			t.Errorf("with byte %d (%q) as %q it says %+v", i, written[i], changed[i], m)
		}
	}
}
