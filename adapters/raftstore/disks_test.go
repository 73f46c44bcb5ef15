package raftstore_test

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// stall is a disk whose log takes no syncs for a while.
type stall struct {
	mu    sync.Mutex
	ended chan struct{} // closed when the stall ends; nil: there is none
}

// begin begins a stall, and gives a function that ends it.
func (s *stall) begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := make(chan struct{})
	s.ended = ended
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = nil
		close(ended)
	})
}

// MaybeError implements errorfs.Injector.
func (s *stall) MaybeError(op errorfs.Op) error {
	if op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData && op.Kind != errorfs.OpFileSyncTo || !strings.HasPrefix(op.Path, "data/raft/log") {
		return nil
	}
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended != nil {
		<-ended
	}
	return nil
}

func (s *stall) String() string { return "stall" }

// disk is how much space a disk has.
type disk struct{ full atomic.Bool }

// sized is a file system that says how much space it has.
type sized struct {
	vfs.FS
	disk *disk
}

func (s *sized) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if s.disk.full.Load() {
		return vfs.DiskUsage{TotalBytes: 1 << 40}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 39, TotalBytes: 1 << 40}, nil
}
