package httpapi_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// startBroken is a registry with the instance a1 whose disk failed a sync.
func startBroken(t *testing.T) *server {
	t.Helper()
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && strings.HasSuffix(op.Path, ".log") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return errors.New("the disk is gone")
		}
		return nil
	}))
	s := startOn(t, pebblestore.Options{FS: fs})
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	broken.Store(true)
	s.send("PUT", a1+"/heartbeat", "").problem(t, 503, "read-only", "")
	broken.Store(false)
	return s
}

// What a user sees of a disk that fails a sync: commands are refused for good, queries go on.
func TestAFailedSyncRefusesCommandsForGood(t *testing.T) {
	s := startBroken(t)
	s.send("PUT", a1, `{"address":"10.0.0.6"}`).problem(t, 503, "read-only", "")
	if got := s.send("GET", a1, "").want(t, 200); !strings.Contains(string(got.body), "10.0.0.5") {
		t.Errorf("the instance is %s", got.body)
	}
}

type roomFS struct {
	vfs.FS
	free atomic.Uint64
}

func (r *roomFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: r.free.Load()}, nil
}

// What a user sees of a disk that is nearly full: 507 until there is room.
func TestANearlyFullDiskIs507UntilThereIsRoom(t *testing.T) {
	fs := &roomFS{FS: vfs.Default}
	fs.free.Store(1 << 30)
	s := startOn(t, pebblestore.Options{FS: fs})
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	until := func(status int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			r := s.send("PUT", a1+"/heartbeat", "")
			if r.StatusCode == status {
				if status == 507 {
					r.problem(t, 507, "disk-full", "")
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("it does not get to %d: %d", status, r.StatusCode)
			}
		}
	}
	fs.free.Store(1 << 20)
	until(507)
	s.send("GET", a1, "").want(t, 200)
	fs.free.Store(1 << 30)
	until(200)
}
