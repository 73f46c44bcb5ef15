package backup_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/backup"
)

// A context that ends breaks off what reads a backup or writes one, and leaves everything as it was.
func TestAnEndedContextLeavesEverythingAsItWas(t *testing.T) {
	dir, data := filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "data")
	mustTake(t, first, dir)
	target, err := backup.OpenTarget(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	signal := errors.New("a signal")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(signal)
	_, received := target.Receive(ctx, bytes.NewReader(archive(t, second, target.Have())), func(int64) {})
	_, opened := backup.OpenTarget(ctx, dir)
	_, verified := backup.Verify(ctx, dir, none)
	_, restored := backup.Restore(ctx, dir, data, none, noFinish)
	for what, err := range map[string]error{"receive": received, "open": opened, "verify": verified, "restore": restored} {
		if !errors.Is(err, signal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(data)); err != nil || len(left) > 0 {
		t.Errorf("a restore has left %v, %v", left, err)
	}
	wantRestored(t, dir, first)
}
