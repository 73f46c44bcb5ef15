package pebblestore_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// The engine panics where it cannot write its manifest. Whatever write fails first, the caller gets an error, and the
// folder can be opened once there is space.
func TestAFirstStartOnAFullDiskFailsWithAnErrorAndTheNextOneSucceeds(t *testing.T) {
	for writes := range 12 {
		t.Run(fmt.Sprint("after ", writes, " writes"), func(t *testing.T) {
			disk, left := vfs.NewMem(), writes
			full := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind != errorfs.OpFileWrite {
					return nil
				}
				if left--; left < 0 {
					return syscall.ENOSPC
				}
				return nil
			}))
			store, err := pebblestore.Open("events", pebblestore.Options{FS: full})
			if err == nil {
				left = 1 << 30 // there is space again
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			} else if !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
				t.Errorf("the first start failed with %v", err)
			}
			store, err = pebblestore.Open("events", pebblestore.Options{FS: disk})
			if err != nil {
				t.Fatalf("with space the store did not open: %v", err)
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
