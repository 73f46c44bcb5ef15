// Package disposable opens folders of the Pebble engine whose content can be made anew. Whatever happens to such a folder,
// the process goes on (ADR 026). A fault of the engine is noted and does not end the process. A folder that cannot be opened
// can be put aside. A folder that has failed is closed without waiting for its engine.
//
// The caller that opened the folder decides what to do about a fault.
package disposable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/projections/durable"
	"github.com/rollcall-registry/rollcall/projections/memtables"
)

// Options says how to open a folder.
type Options struct {
	Name   string // of the content, for the log and for errors
	Logger *slog.Logger
	Engine pebble.Options // Open sets its logger, listener and lock; FS nil: the disk
	Apart  Apart
}

// ErrInUse refuses a folder that another process, or another DB of this one, has open.
var ErrInUse = errors.New("it is in use")

// DB is an open folder. Reads use the engine's methods; writes use Commit.
//
// The engine keeps no write-ahead log, because the engine ends the process when it cannot write the log. Content that a
// crash takes can be made anew.
//
// INVARIANT: after a crash the folder has the effect of all batches up to some batch, and of no later batch.
type DB struct {
	*pebble.DB

	dir    string
	engine *pebble.Options // with the engine's defaults
	lock   io.Closer
	write  bool
	gate   *gate
	failed context.Context // ends, with the fault as its cause, when the engine has failed
	fail   context.CancelCauseFunc

	tables    atomic.Int64    // numbers the tables of Ingest
	writing   sync.Mutex      // held by Commit, Flush and Checkpoint; guards what follows
	unflushed int             // bytes of batches since the last flush was begun
	flushing  <-chan struct{} // closed by the engine when that flush has ended; never closed if the flush fails
	committed uint64          // bytes of all batches
	rest      memtables.Rest
}

// Damage is the fault of a folder whose content is not what was written, so that it cannot be used any more.
type Damage struct{ Cause error }

func (d Damage) Error() string { return "damaged: " + d.Cause.Error() }
func (d Damage) Unwrap() error { return d.Cause }

// Open opens a folder as it is.
func Open(dir string, opts Options) (db *DB, err error) {
	engine := opts.Engine
	if engine.FS == nil {
		engine.FS = vfs.Default
	}
	if engine.FS == vfs.Default {
		if err := durable.CheckFiles(dir); err != nil {
			return nil, fmt.Errorf("open the %s: %w", opts.Name, err)
		}
	}
	if engine.Cache == nil {
		engine.Cache = pebble.NewCache(Memtables + smallCache)
		defer engine.Cache.Unref() // the engine keeps it
	}
	db = &DB{dir: dir, engine: &engine, gate: &gate{FS: engine.FS}, write: !engine.ReadOnly}
	db.failed, db.fail = context.WithCancelCause(context.Background())
	if db.lock, err = lock(engine.FS, dir, engine.ReadOnly); err != nil {
		return nil, fmt.Errorf("open the %s in %s: %w", opts.Name, dir, err)
	}
	engine.FS, engine.DisableWAL = db.gate, true
	engine.MemTableSize, engine.MemTableStopWritesThreshold, engine.L0StopWritesThreshold = memTableSize, 16, 1000 // none is ever reached
	engine.Logger = engineLog{db: db, name: opts.Name, logger: opts.Logger}
	engine.EventListener = &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			db.Fail(Damage{fmt.Errorf("%s: %w", info.Path, info.Details)})
		},
		BackgroundError: func(err error) { db.Fail(err) },
	}
	if opts.Apart.From > 0 {
		opts.Apart.keep(&engine)
	}
	if db.DB, err = openEngine(dir, &engine); err != nil {
		db.gate.close()
		return nil, errors.Join(fmt.Errorf("open the %s in %s: %w", opts.Name, dir, err), db.lock.Close())
	}
	engine.EnsureDefaults()
	return db, nil
}

// openEngine opens the engine. It turns a panic of the engine over damaged files into an error.
func openEngine(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer unpanicked(&err)
	return pebble.Open(dir, o)
}

func lock(fs vfs.FS, dir string, readOnly bool) (io.Closer, error) {
	if readOnly {
		if _, err := fs.Stat(dir); err != nil {
			return nil, err
		}
	} else if err := fs.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	l, err := fs.Lock(fs.PathJoin(dir, "LOCK"))
	var number syscall.Errno
	if err != nil && (!errors.As(err, &number) || number == syscall.EAGAIN) { // an error without a number says that this process holds the lock
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return l, err
}

// Fail notes a fault. From then on the folder cannot be used. Only the first fault is kept.
func (db *DB) Fail(fault error) { db.fail(fault) }

// Failed ends when the folder has failed; its cause is the fault.
func (db *DB) Failed() context.Context { return db.failed }

// Err is the fault, nil while there is none.
func (db *DB) Err() error { return context.Cause(db.failed) }

// A flush is begun after flushBytes of batches, before the engine would begin one. A commit would wait for a flush of the
// engine, and for ever if that flush fails.
const (
	flushBytes   = 8 << 20
	memTableSize = 4 * flushBytes // an entry takes more memory than its bytes
)

// Memtables is how many bytes the engine takes from its cache for memtables: for the one that is written to, and for the one that is
// being flushed, or is kept to be the next. A cache that is not larger keeps no block.
const Memtables = 2 * memTableSize

// smallCache is how many bytes of blocks a folder keeps that says nothing of its cache.
const smallCache = 1 << 20

// Commit writes a batch.
func (db *DB) Commit(b *pebble.Batch) (err error) {
	if err := db.Err(); err != nil {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	defer db.outcome(&err)
	size := b.Len()
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	db.unflushed += size
	db.committed += uint64(size)
	if db.unflushed >= flushBytes {
		return db.flush()
	}
	return nil
}

// Flush begins to write the batches in memory to disk, so that a crash does not take them.
func (db *DB) Flush() (err error) {
	db.writing.Lock()
	defer db.writing.Unlock()
	if err := db.Err(); err != nil || db.unflushed == 0 {
		return err
	}
	defer db.outcome(&err)
	return db.flush()
}

func (db *DB) flush() (err error) {
	if err := db.flushed(); err != nil {
		return err
	}
	db.unflushed = 0
	db.flushing, err = db.AsyncFlush()
	return err
}

// flushed waits for the flush that is under way.
func (db *DB) flushed() error { return db.ended(db.flushing) }

// ended waits for a flush; nil: there was none.
func (db *DB) ended(flush <-chan struct{}) error {
	if flush == nil {
		return nil
	}
	select {
	case <-flush:
		return nil
	case <-db.failed.Done():
		return db.Err()
	}
}

// Rest gives the memory of the memtables back to the system when little is written after much was. It is called each
// memtables.Pause.
func (db *DB) Rest() error {
	db.writing.Lock()
	due := db.rest.Due(db.committed)
	db.writing.Unlock()
	if err := db.Err(); err != nil || !due {
		return err
	}
	return memtables.Release(db.DB, db.engine.Cache, db.rotate, db.ended)
}

// rotate begins a new memtable, and the flush of the one before.
func (db *DB) rotate() (flushed <-chan struct{}, err error) {
	db.writing.Lock()
	defer db.writing.Unlock()
	if err := db.Err(); err != nil {
		return nil, err
	}
	defer db.outcome(&err)
	err = db.flush()
	return db.flushing, err
}

// outcome sets the error of a call to the engine. An engine that has failed may panic, or report no error.
func (db *DB) outcome(err *error) {
	if r := recover(); r != nil {
		db.Fail(fmt.Errorf("the engine gave up: %v", r))
	}
	*err = errors.Join(*err, db.Err())
}

// Checkpoint makes a copy of the folder. REQUIRES: dir does not exist.
func (db *DB) Checkpoint(dir string) (err error) {
	if err := db.Err(); err != nil {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	defer db.outcome(&err)
	if err := errors.Join(db.flush(), db.flushed()); err != nil {
		return err
	}
	return db.DB.Checkpoint(dir)
}

// Value is the value at an iterator, valid until the iterator is moved. The engine panics over a damaged file of values that are apart from their
// keys, in the goroutine that reads the value.
func (db *DB) Value(it *pebble.Iterator) (v []byte, err error) {
	defer unpanicked(&err)
	return it.ValueAndErr()
}

// unpanicked turns a panic of the engine into an error.
func unpanicked(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the engine gave up: %v", r)
	}
}

// Fetch is a copy of the value of a key; nil: there is none.
func (db *DB) Fetch(key []byte) (copied []byte, err error) {
	defer unpanicked(&err)
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

// closingTime is how long Close waits for an engine that has failed, which may hold its own locks for ever.
const closingTime = 2 * time.Second

// Close closes the folder. REQUIRES: nobody uses the DB any more. When Close has returned, a failed engine reaches no file
// by its name, even if the engine has not ended, so that the folder may be opened again at once.
func (db *DB) Close() error {
	if db.Err() == nil {
		var err error
		if db.write {
			err = errors.Join(db.Flush(), db.flushed())
		}
		if db.Err() == nil {
			return errors.Join(err, db.DB.Close(), db.lock.Close())
		}
	}
	db.gate.close()
	ended := make(chan struct{}) // closed when the engine has ended
	go func() {
		defer close(ended)
		defer func() { _ = recover() }() // a failed engine may panic while it ends, which changes nothing
		_ = db.DB.Close()
	}()
	waiting, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	select {
	case <-ended:
	case <-waiting.Done(): // the engine's goroutines stay until the process ends
	}
	return db.lock.Close()
}

// Passing says whether a fault comes from the system and says nothing about the folder's content: a full disk, or too many
// open files.
func Passing(err error) bool {
	for _, number := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}

// engineLog logs the engine's errors and nothing else.
type engineLog struct {
	db     *DB
	name   string
	logger *slog.Logger
}

func (l engineLog) Infof(string, ...any) {}

func (l engineLog) Errorf(format string, args ...any) {
	l.logger.Warn(l.name+": engine", "error", fmt.Sprintf(format, args...))
}

// Fatalf notes the fault and returns, although the engine expects that it does not. Results of the engine after that are
// not used.
func (l engineLog) Fatalf(format string, args ...any) {
	for _, a := range args {
		if cause, ok := a.(error); ok {
			l.db.Fail(cause)
			return
		}
	}
	l.db.Fail(fmt.Errorf(format, args...))
}
