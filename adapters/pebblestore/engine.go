package pebblestore

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/rollcall-registry/rollcall/projections/durable"
)

// newCache is the cache of the engine's blocks, from which it takes its memtables, too.
func newCache(opts Options) *pebble.Cache {
	if opts.ReadOnly {
		return pebble.NewCache(1 << 20) // a tool reads everything once: a small cache stays in the processor's caches
	}
	return pebble.NewCache(64 << 20)
}

// openPebble opens the engine, and gives its options with the engine's defaults. They have the lock of the folder, which is the caller's to close.
func openPebble(dir string, opts Options, cache *pebble.Cache, merging *merging) (*pebble.DB, *pebble.Options, error) {
	lock, err := pebble.LockDirectory(dir, opts.FS)
	if err != nil {
		if durable.LockUnopened(err) {
			return nil, nil, fmt.Errorf("open data folder: %w", err)
		}
		return nil, nil, LockedError{Dir: dir}
	}
	disk := &patientFS{FS: opts.FS, pause: opts.pause}
	o := &pebble.Options{
		FS: disk, Lock: lock, Cache: cache, ReadOnly: opts.ReadOnly, ErrorIfNotExists: opts.ReadOnly,
		Logger: EngineLog{opts.Logger, "event store engine"},
		EventListener: &pebble.EventListener{
			DataCorruption: corrupted(opts.Logger),
			BackgroundError: func(err error) {
				disk.failed.Store(true)
				opts.Logger.Error("event store engine", "error", err)
			},
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { merging.Stalled() },
		},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       24,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 16 << 10
	}
	o.Experimental.CompactionScheduler = merging
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	o.EnsureDefaults()
	var db *pebble.DB
	err = withoutPanic(func() (err error) {
		db, err = pebble.Open(dir, o)
		return err
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open event store in %s: %w", dir, err), lock.Close())
	}
	return db, o, nil
}

// withoutPanic runs a part of Open. The engine panics through Fatalf where it cannot write its manifest or its log: the
// disk is full at the first start.
func withoutPanic(part func() error) (err error) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case fatal:
			err = cause
		default:
			panic(cause)
		}
	}()
	return part()
}

// corrupted logs a damaged file. Without this listener the engine would end the process. The rest of the store stays
// readable, and a read of the damaged data fails.
func corrupted(logger *slog.Logger) func(pebble.DataCorruptionInfo) {
	return func(info pebble.DataCorruptionInfo) {
		logger.Error("event store file is damaged", "file", info.Path, "cause", info.Details)
	}
}
