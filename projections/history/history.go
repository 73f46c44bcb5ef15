// Package history is the audit read model: every lifecycle event, found by instance, service,
// namespace, actor, type and time; heartbeats summed up by instance and hour; and a Merkle tree over
// the lifecycle events. It lives in a folder of its own, can be rebuilt from events at will, and
// never delays an append: it follows the store like any subscriber.
package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// formatVersion is that of the folder's content. Another one is rebuilt.
const formatVersion = 1

// History is the open read model. One goroutine applies events; anyone may query.
type History struct {
	projections.Progress

	db     *pebble.DB
	logger *slog.Logger
	leaves atomic.Int64 // audited events in the tree

	readOnly bool

	// The applying goroutine's own.
	lifecycle eventstore.Position // entries are written up to here
	summed    eventstore.Position // summaries of heartbeats are written up to here
	tree      tree
	indexed   int64 // newest entry of the time index, Unix nanoseconds
	unflushed int   // heartbeats since the summaries were written
	flushed   time.Time
	postings  map[term][]eventstore.Position // of the batch that is being made
	scratch   []byte
	seeded    bool // the summaries on disk are ahead of the events: see keepSummaries

	numbered []*summary // open ones by their heartbeat streams' numbers; nil or closed: to be looked up

	mu    sync.Mutex // guards open
	open  map[string]*summary
	query sync.RWMutex // held by queries, and by Close to wait for them
	shut  bool
}

// Open opens the history in dir. One of another format or of another store is thrown away and
// built anew.
func Open(dir string, store uuid.UUID, logger *slog.Logger) (*History, error) {
	h, err := open(dir, store, logger, false)
	var stale staleError
	if !errors.As(err, &stale) {
		return h, err
	}
	logger.Warn("the history is built anew", "cause", stale)
	if err := Remove(dir); err != nil {
		return nil, err
	}
	return open(dir, store, logger, false)
}

// staleError says why a folder's content is of no use.
type staleError string

func (e staleError) Error() string { return string(e) }

func open(dir string, store uuid.UUID, logger *slog.Logger, readOnly bool) (*History, error) {
	cache := pebble.NewCache(32 << 20)
	defer cache.Unref()
	o := &pebble.Options{
		Cache: cache, Logger: quiet{logger}, FormatMajorVersion: pebble.FormatNewest, MemTableSize: 16 << 20, L0CompactionThreshold: 4,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 }, ReadOnly: readOnly, ErrorIfNotExists: readOnly,
		EventListener: &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
			logger.Error("history file is damaged; rollcall rebuild makes it anew", "file", info.Path, "cause", info.Details)
		}},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 16 << 10
	}
	o.Levels[len(o.Levels)-1].Compression = func() *sstable.CompressionProfile { return sstable.ZstdCompression } // nearly all of it
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open history in %s: %w", dir, err)
	}
	h := &History{db: db, logger: logger, readOnly: readOnly, open: make(map[string]*summary), postings: make(map[term][]eventstore.Position)}
	if err := h.load(store); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return h, nil
}

func (h *History) load(store uuid.UUID) error {
	identity := append([]byte{formatVersion}, store[:]...)
	was, err := h.get(keyIdentity)
	switch {
	case err != nil:
		return err
	case was == nil && h.readOnly:
		return staleError("it is empty")
	case was == nil:
		if err := h.db.Set(keyIdentity, identity, pebble.NoSync); err != nil {
			return err
		}
	case string(was) != string(identity):
		return staleError("it is of another format or store")
	}
	state, err := h.get(keyState)
	if err != nil {
		return err
	}
	if state != nil {
		if len(state) != 32 {
			return staleError("its state is damaged")
		}
		h.lifecycle = eventstore.Position(binary.BigEndian.Uint64(state))
		h.summed = eventstore.Position(binary.BigEndian.Uint64(state[8:]))
		h.Advance(h.summed)
		h.leaves.Store(int64(binary.BigEndian.Uint64(state[16:])))
		h.indexed = int64(binary.BigEndian.Uint64(state[24:]))
	}
	return h.tree.load(h, h.leaves.Load())
}

// state is what a batch saves beside its entries: up to where lifecycle events are applied, up to
// where heartbeats are, the tree's size, the time index's end.
func (h *History) state(heartbeats eventstore.Position) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(h.lifecycle))
	b = binary.BigEndian.AppendUint64(b, uint64(heartbeats))
	b = binary.BigEndian.AppendUint64(b, uint64(h.tree.size))
	return binary.BigEndian.AppendUint64(b, uint64(h.indexed))
}

// Run follows the store until the context ends.
func (h *History) Run(ctx context.Context, store eventstore.Store) error {
	err := projections.Follow(ctx, store, eventstore.SubscribeOptions{After: h.Position()}, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		runtime.Gosched() // who answers a command or tells a subscriber of the same events goes first
		return h.Apply(events, position)
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Behind is how many positions the history is behind the store.
func (h *History) Behind(ctx context.Context, store eventstore.Store) uint64 {
	head, err := store.Head(ctx)
	if at := h.Position(); err == nil && head > at {
		return uint64(head - at)
	}
	return 0
}

// Close writes what is still in memory. Run must have returned.
func (h *History) Close() error {
	h.query.Lock()
	defer h.query.Unlock()
	if h.shut {
		return nil
	}
	h.shut = true
	if h.readOnly {
		return h.db.Close()
	}
	return errors.Join(h.flush(h.Position()), h.db.Flush(), h.db.Close())
}

// Checkpoint makes a copy of the folder as it is, in one that must not exist. Heartbeats that are only
// summed up in memory are not in it; they are read again from there on.
func (h *History) Checkpoint(dir string) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	return h.db.Checkpoint(dir, pebble.WithFlushedWAL())
}

// enter keeps the folder open until leave.
func (h *History) enter() error {
	h.query.RLock()
	if h.shut {
		h.query.RUnlock()
		return eventstore.ErrClosed
	}
	return nil
}

func (h *History) leave() { h.query.RUnlock() }

func (h *History) get(key []byte) ([]byte, error) {
	v, closer, err := h.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}

// quiet keeps the engine's chatter out of the log.
type quiet struct{ *slog.Logger }

func (q quiet) Infof(string, ...any) {}
func (q quiet) Errorf(format string, args ...any) {
	q.Error("history engine", "error", fmt.Sprintf(format, args...))
}
func (q quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
