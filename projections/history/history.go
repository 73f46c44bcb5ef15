// Package history is the audit read model: every lifecycle event, found by instance, service, namespace, actor, type and
// time; sums of heartbeats by instance and hour; and a Merkle tree over the lifecycle events. The history has a folder of its
// own, which can be made anew from the events. It follows the store as a subscriber, so it never delays an append. A folder
// that is damaged, or does not fit the store's events, is put aside and made anew while the process goes on (ADR 026).
package history

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/disposable"
)

// History is the read model. One goroutine applies events; any goroutine may query.
//
// INVARIANT: a query holds the read lock of query from enter to leave, so the folder that it uses is neither closed nor
// replaced meanwhile. The goroutine of Run replaces index, and holds the write lock then; it may read index without a lock.
type History struct {
	projections.Progress

	place  place
	leaves atomic.Int64 // audited events in the tree

	closing context.Context // ends when Close begins, so that scans end
	end     context.CancelFunc

	// query is held for reading by queries, and for writing to replace or close the index.
	query   sync.RWMutex
	shut    bool
	trouble *Unavailable // why queries are refused; nil: they are answered
	*index               // the open folder; nil: none is open

	applying  sync.Mutex // held while events are applied, and by flushQuiet
	gathering gathering
	following bool // events are being applied, so that flushQuiet may write; guarded by applying
}

// place is where a history is kept.
type place struct {
	dir      string
	store    uuid.UUID
	logger   *slog.Logger
	readOnly bool
	fs       vfs.FS // nil: the disk
	segment  int64  // entries of a segment; 0: segmentEntries

	packFrom        int    // from how many drafts on a rebuild packs them; 0: packFrom
	flushRebuilt    int    // bytes; 0: flushRebuilt
	flushHeartbeats int    // 0: flushHeartbeats
	apartFlush      uint64 // bytes; 0: apartFlush
}

// Open opens the history in dir. A folder that cannot be opened, or is of another format or store, is put aside, and Run
// makes it anew. An error means that another process has the folder open.
func Open(dir string, store uuid.UUID, logger *slog.Logger) (*History, error) {
	return openIn(place{dir: dir, store: store, logger: logger})
}

// OpenSegmented is Open with another length of the segments, for tests of what reads many of them. A folder must always be
// opened with the same length. Large values of any flush are kept apart.
func OpenSegmented(dir string, store uuid.UUID, logger *slog.Logger, entries int64) (*History, error) {
	return openIn(place{dir: dir, store: store, logger: logger, segment: entries, apartFlush: 1})
}

func openIn(p place) (*History, error) {
	h := &History{place: p, gathering: newGathering()}
	h.closing, h.end = context.WithCancel(context.Background())
	fresh, aside, err := p.openOrRenew(true)
	if errors.Is(err, disposable.ErrInUse) {
		return nil, err
	}
	if err != nil {
		p.logger.Error("the history cannot be opened; commands and the catalog go on, and it is tried again", "cause", err)
		h.trouble = &Unavailable{Cause: err}
		return h, nil
	}
	h.adopt(fresh)
	if aside != "" {
		h.trouble = &Unavailable{Rebuilding: true}
		h.renewed = aside
	}
	return h, nil
}

// OpenReadOnly opens the history of a store whose server does not run, without changing it.
func OpenReadOnly(dir string, store uuid.UUID, logger *slog.Logger) (*History, error) {
	return openExactly(place{dir: dir, store: store, logger: logger, readOnly: true})
}

// openExactly opens the folder as it is, or gives an error.
func openExactly(p place) (*History, error) {
	x, err := p.open()
	if err != nil {
		return nil, err
	}
	h := &History{place: p, gathering: newGathering()}
	h.closing, h.end = context.WithCancel(context.Background())
	h.adopt(x)
	return h, nil
}

// adopt makes an open folder the folder of the history. REQUIRES: query is held for writing, or nobody else has the History
// yet.
func (h *History) adopt(x *index) {
	h.index = x
	h.leaves.Store(x.tree.size)
	h.Advance(x.summed)
}

// Behind is how many positions the history is behind the store.
func (h *History) Behind(ctx context.Context, store eventstore.Store) uint64 {
	head, err := store.Head(ctx)
	if at := h.Position(); err == nil && head > at {
		return uint64(head - at)
	}
	return 0
}

// Close ends scans, writes what is still in memory, and closes the folder. REQUIRES: Run has returned.
func (h *History) Close() error {
	h.end()
	h.query.Lock()
	defer h.query.Unlock()
	if h.shut || h.index == nil {
		h.shut = true
		return nil
	}
	h.shut = true
	settled := h.settled()
	if settled != nil || h.place.readOnly || h.db.Err() != nil { // if the folder has failed, the next start looks at it
		return errors.Join(settled, h.db.Close())
	}
	return errors.Join(h.flush(h.Position()), h.db.Close())
}

// Checkpoint makes a copy of the folder. The copy does not have the sums of heartbeats that are only in memory; a history
// that is opened from the copy reads these heartbeats again. REQUIRES: dir does not exist.
func (h *History) Checkpoint(dir string) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	return h.db.Checkpoint(dir)
}

// enter keeps the folder open until leave is called. It gives an error while queries are refused.
func (h *History) enter() error {
	h.query.RLock()
	var err error
	switch {
	case h.shut:
		err = eventstore.ErrClosed
	case h.trouble != nil:
		err = h.trouble
	default:
		return nil
	}
	h.query.RUnlock()
	return err
}

func (h *History) leave() { h.query.RUnlock() }

// interrupted is why a scan must end now: its context has ended, the history is being closed, or the folder has failed.
func (h *History) interrupted(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case h.closing.Err() != nil:
		return eventstore.ErrClosed
	}
	return h.blame(h.db.Err())
}

// blame notes an error of a query as damage of the folder, where the error comes from the folder.
func (h *History) blame(err error) error {
	if err == nil || errors.Is(err, ErrNoSuchTree) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventstore.ErrClosed) {
		return err
	}
	if !disposable.Passing(err) {
		h.db.Fail(disposable.Damage{Cause: err})
	}
	return &Unavailable{Cause: err}
}
