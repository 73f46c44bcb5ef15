// Package pebblestore is the embedded event store: one folder, one process, no set-up.
//
// Two goroutines write. The committer takes the calls of Append from a queue, checks preconditions against stream heads
// in memory, and writes one batch to Pebble's log. A second goroutine waits for the batch to be synced, publishes the
// events and answers the callers, while the committer fills the next batch. Readers see no event that is not durable.
package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// Options says how to open a store. The zero value is right for production.
type Options struct {
	Now func() time.Time // the wall clock; nil: time.Now
	// Monotonic is a clock that never steps. It measures the time between two looks at the wall clock. nil: the
	// process's monotonic clock, or Now where Now is given.
	Monotonic func() time.Duration
	Logger    *slog.Logger // nil: discards
	FS        vfs.FS       // nil: the disk
	OnCommit  func(Commit) // is told of every commit, in order, and must return quickly; nil: nobody is told
	ReadOnly  bool         // opens an existing store without changing it
	// MergeLater has the engine merge no tables before Merge is called, so that a start has the processor. Without it, Open calls Merge.
	MergeLater bool
	Filling    bool // the store is filled from another one: the event of its timeline waits, see Descend
	// MinFree is the free disk space, in bytes, below which appends are refused; 0: 128 MiB. The engine needs space
	// for compactions, and must never find the disk full.
	MinFree uint64
	// OnDamaged is told of each event that cannot be read, and ReadAll goes on after that event. nil: ReadAll ends
	// with the error.
	OnDamaged func(*Damaged)
	// Schema is the newest schema version of events that the caller knows; 0: domain.SchemaVersion. A store with
	// events of a newer version is not opened.
	Schema int

	// Replica opens a store whose appends come from a log of several nodes, see Apply. Append is refused.
	Replica bool
	// Alone takes a store out of its cluster: its mark is removed, and it goes on as a store of its own.
	Alone bool
	// ID is the id of a store that is created; zero: a random one.
	ID uuid.UUID

	pause func() // waits before a table is written again; nil: retryPause
	part  int    // lifecycle events that the engine may lack in the index of the streams; 0: fullPart
}

// Commit describes a commit to OnCommit.
type Commit struct {
	Requests, Events int
	Sync             time.Duration // from the apply of the first batch until the commit was durable
	Append           time.Duration // from the submission of the first call until the commit was durable
}

// LockedError refuses to open a folder that another process has open.
type LockedError struct{ Dir string }

func (e LockedError) Error() string {
	return fmt.Sprintf("data folder %s is in use by another rollcall process", e.Dir)
}

// Store is an eventstore.Store in a folder.
type Store struct {
	db        *pebble.DB
	engine    *pebble.Options // of db, with the engine's defaults and the lock of the folder
	cache     *pebble.Cache   // of db, and there for as long as db is open
	merging   *merging
	dir       string
	opts      Options
	id        uuid.UUID
	salt      uint64        // for derived ids
	format    atomic.Uint32 // of what is written
	timelines timelines
	heads     *heads
	known     *known
	unindexed unindexed
	changes   *changes
	numbers   numbers
	hub       hub
	buffer    sync.Pool // of *[]heartbeat; each belongs to one iteration at a time
	batches   sync.Pool // of *pebble.Batch; each belongs to one commit at a time

	intake   sync.RWMutex  // held for reading while a call is put into the queue
	refusing bool          // guarded by intake: the store is closing and takes no call
	queue    chan *pending // to the committer; never closed; a call waits while it is full
	writing  sync.Mutex    // held while a commit is written
	commits  chan *commit  // from the committer, which closes it, to answerCommits
	closing  chan struct{} // closed by Close: the store takes no more calls
	stopped  chan struct{} // closed by answerCommits: every call that was taken is answered
	closed   sync.Once
	watching sync.WaitGroup        // watchSpace, forgetIdle, fillKnown and releaseMemtables
	gate     sync.RWMutex          // held for reading while a reader enters
	shut     bool                  // guarded by gate: no reader may enter
	readers  sync.WaitGroup        // readers that have entered and not left; Close waits for them
	failure  atomic.Pointer[error] // why no append will ever be taken again; nil: appends are taken
	gaveUp   bool                  // the engine holds a lock for ever, so that it cannot be closed; the committer's until stopped is closed
	full     atomic.Bool           // the disk has too little free space
	durable  atomic.Uint64         // position up to which events are synced
	trimmed  atomic.Uint64         // heartbeats at lower positions were removed
	batched  atomic.Uint64         // bytes that were handed to the engine
	clock    clock

	// INVARIANT: from the end of load on, only who holds writing uses the fields below.
	next        eventstore.Position // the next position to give
	nextNumber  uint32              // the next number to give to a heartbeat stream
	lastIndexed int64               // newest time in the time index, Unix nanoseconds
	lastImport  int64               // newest time of an event from another store, Unix nanoseconds
	late        bool                // the index of the streams may be behind, and the format says so
	unsaved     unsaved
	ids         ids
	idle        idle
	mark        []byte   // of the newest block; nil: the store is no replica
	applying    applying // only the goroutine that calls Apply uses it
}

// Open opens the store in dir, and creates it when there is none.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Monotonic == nil {
		now, start := time.Now, time.Now()
		if opts.Now != nil {
			now, start = opts.Now, opts.Now()
		}
		opts.Monotonic = func() time.Duration { return now().Sub(start) }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.MinFree == 0 {
		opts.MinFree = defaultMinFree
	}
	if opts.Schema == 0 {
		opts.Schema = domain.SchemaVersion
	}
	if opts.FS == vfs.Default {
		if err := durable.CheckFiles(dir); err != nil {
			return nil, fmt.Errorf("open event store: %w", err)
		}
	}
	if !opts.ReadOnly {
		if err := opts.FS.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("create data folder: %w", err)
		}
	}
	merging, cache := &merging{held: true}, newCache(opts)
	defer cache.Unref() // the engine keeps it
	if opts.pause == nil {
		opts.pause = func() { time.Sleep(retryPause) }
	}
	db, engine, err := openPebble(dir, opts, cache, merging)
	if err != nil {
		return nil, err
	}
	if !opts.MergeLater {
		merging.Merge()
	}
	s := &Store{
		db: db, engine: engine, cache: cache, merging: merging, dir: dir, opts: opts, heads: new(heads), known: newKnown(), changes: new(changes), unindexed: newUnindexed(opts.part),
		queue: make(chan *pending, maxQueued), commits: make(chan *commit, 1),
		closing: make(chan struct{}), stopped: make(chan struct{}),
		clock: clock{wall: opts.Now, mono: opts.Monotonic, logger: opts.Logger},
	}
	s.buffer.New = func() any { return new([]heartbeat) }
	if err := withoutPanic(s.load); err != nil {
		return nil, errors.Join(fmt.Errorf("open event store in %s: %w", dir, err), db.Close(), engine.Lock.Close())
	}
	if opts.ReadOnly {
		readOnly := eventstore.ErrReadOnly
		s.failure.Store(&readOnly)
	}
	if !opts.ReadOnly {
		s.checkSpace()
		s.watching.Go(s.watchSpace)
		s.watching.Go(s.forgetIdle)
		s.watching.Go(s.fillKnown)
		s.watching.Go(s.releaseMemtables)
		s.watching.Go(s.writeParts)
	}
	s.applying.buffers = s.newBuffers()
	go s.commitAppends(s.newBuffers())
	go s.answerCommits()
	if !opts.ReadOnly && !opts.Filling && !opts.Replica {
		if err := s.recordTimeline(context.Background()); err != nil {
			return nil, errors.Join(fmt.Errorf("open event store in %s: %w", dir, err), s.Close())
		}
	}
	return s, nil
}

// Merge ends what Options.MergeLater asked for.
func (s *Store) Merge() { s.merging.Merge() }

// load reads the store's identity, its newest position and its clock.
func (s *Store) load() error {
	if err := s.loadIdentity(); err != nil {
		return err
	}
	if err := s.loadMark(); err != nil {
		return err
	}
	if err := s.loadTimelines(); err != nil {
		return err
	}
	lastLifecycle, recorded, err := s.lastOf(rangeLifecycle)
	if err != nil {
		return err
	}
	lastHeartbeat, heartbeatRecorded, err := s.lastOf(rangeHeartbeats)
	if err != nil {
		return err
	}
	last := max(lastLifecycle, lastHeartbeat)
	if trimmed, err := s.get(keyTrimmed); err != nil {
		return err
	} else if trimmed != nil {
		s.trimmed.Store(binary.BigEndian.Uint64(trimmed))
		// The retention may have removed the newest events. Their positions are not given again.
		last = max(last, eventstore.Position(s.trimmed.Load())-1)
	}
	s.durable.Store(uint64(last))
	s.hub.published = last
	s.next = last + 1
	s.changes.from = last
	newest := max(recorded, heartbeatRecorded)
	indexed, err := s.lastKey(rangeTime)
	if err != nil {
		return err
	}
	if indexed != nil {
		s.lastIndexed = int64(tail(indexed))
		newest = max(newest, s.lastIndexed)
	}
	s.clock.start(newest)
	number, err := s.lastKey(rangeName)
	if err != nil {
		return err
	}
	s.nextNumber = 1
	if number != nil {
		s.nextNumber = binary.BigEndian.Uint32(number[len(number)-4:]) + 1
	}
	if err := s.recoverIndex(); err != nil {
		return err
	}
	if s.opts.Replica { // it may be copied to a node of an earlier version
		if err := s.completeIndex(); err != nil {
			return err
		}
	}
	return s.recoverHeads()
}

// lastKey is the range's greatest key, nil when it is empty.
func (s *Store) lastKey(prefix byte) ([]byte, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix, '/'}, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	if !it.Last() {
		return nil, it.Error()
	}
	return append([]byte{}, it.Key()...), nil
}

// lastOf is the position and the time of the newest event of a range.
func (s *Store) lastOf(prefix byte) (eventstore.Position, int64, error) {
	key, err := s.lastKey(prefix)
	if err != nil || key == nil {
		return 0, 0, err
	}
	p := eventstore.Position(tail(key))
	value, err := s.get(key)
	if err != nil {
		return 0, 0, err
	}
	if prefix == rangeLifecycle {
		r, err := readRecords(p, value)
		if err != nil {
			return 0, 0, err
		}
		for more := true; more; more = r.next() {
			p = r.position
		}
		return p, r.at, r.err()
	}
	entries, err := s.decodeBlock(p, value, nil)
	if err != nil || len(entries) == 0 {
		return 0, 0, errors.Join(err, fmt.Errorf("heartbeat block at position %d", p))
	}
	newest := entries[len(entries)-1].event
	return newest.Position, newest.RecordedAt.UnixNano(), nil
}

// Now is the time now as the store records it. It is never before the newest event, whatever the wall clock says.
func (s *Store) Now() time.Time { return s.clock.present() }

// Err is why the store takes no appends, or nil.
func (s *Store) Err() error {
	if err := s.failed(); err != nil {
		return err
	}
	if s.full.Load() {
		return eventstore.ErrDiskFull
	}
	return nil
}

// failed is why the store will never take an append again, or nil. Calls that are in the queue are carried out however
// little free space the disk has.
func (s *Store) failed() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// DiskUsage is the number of bytes that the store's files take.
func (s *Store) DiskUsage() uint64 { return s.db.Metrics().DiskSpaceUsage() }

// fail makes the store refuse all appends from now on. A failed sync must never be tried again: the
// kernel may have dropped the pages and call the next one a success.
func (s *Store) fail(cause error) {
	err := fmt.Errorf("%w: a write to disk failed: %w", eventstore.ErrReadOnly, cause)
	if s.failure.CompareAndSwap(nil, &err) {
		s.opts.Logger.Error("event store takes no more appends; find out what is wrong with the disk, then start again", "cause", cause)
	}
}

// Close implements eventstore.Store.
func (s *Store) Close() (err error) {
	s.closed.Do(func() {
		_ = s.saveHeadsBefore(^eventstore.Position(0)) // a store that failed cannot; the next start computes the heads
		s.intake.Lock()
		s.refusing = true
		s.intake.Unlock()
		close(s.closing)
		s.watching.Wait()
		<-s.stopped
		s.hub.close()
		s.gate.Lock()
		s.shut = true
		s.gate.Unlock()
		s.readers.Wait()
		// A flush spares the next start the replay of the engine's log. On a full disk the engine would end the process.
		if s.failed() == nil && !s.full.Load() {
			err = errors.Join(s.completeIndex(), s.db.Flush())
		}
		if !s.gaveUp {
			err = errors.Join(err, s.db.Close())
		}
		err = errors.Join(err, s.engine.Lock.Close())
	})
	return err
}

const noLimit = math.MaxInt
