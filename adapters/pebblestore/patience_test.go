package pebblestore

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// The engine waits between two attempts to write a table on a full disk, and goes on once there is space.
func TestTheEngineWaitsBeforeItWritesATableAgain(t *testing.T) {
	var full atomic.Bool
	var attempts atomic.Int64
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") && full.Load() {
			attempts.Add(1)
			return syscall.ENOSPC
		}
		return nil
	}))
	pauses, goOn := make(chan struct{}), make(chan struct{})
	if err := disk.MkdirAll("events", 0o750); err != nil {
		t.Fatal(err)
	}
	cache := newCache(Options{})
	defer cache.Unref()
	db, engine, err := openPebble("events", Options{FS: disk, Logger: slog.New(slog.DiscardHandler), pause: func() {
		pauses <- struct{}{}
		<-goOn
	}}, cache, new(merging))
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := db.Set([]byte("key"), []byte("value"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	flushed, err := db.AsyncFlush()
	if err != nil {
		t.Fatal(err)
	}
	for attempt := range int64(3) {
		<-pauses
		if n := attempts.Load(); n != attempt+1 {
			t.Errorf("before pause %d the engine tried %d times", attempt+1, n)
		}
		full.Store(attempt < 2)
		goOn <- struct{}{}
	}
	<-flushed
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := engine.Lock.Close(); err != nil {
		t.Error(err)
	}
}
