package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Rebuild makes the history in dir anew from the store's events. The old folder stays until the new one is complete. Only
// the summaries of heartbeats that the retention has removed since are taken over from the old folder. progress is told the
// position that the rebuild has reached.
func Rebuild(ctx context.Context, dir string, store eventstore.Store, id uuid.UUID, logger *slog.Logger, progress func(at, head eventstore.Position)) error {
	return place{dir: dir, store: id, logger: logger}.rebuild(ctx, store, progress)
}

func (p place) rebuild(ctx context.Context, store eventstore.Store, progress func(at, head eventstore.Position)) (err error) {
	fresh := p
	fresh.dir += ".new"
	if err := Remove(fresh.dir); err != nil {
		return err
	}
	h, err := openExactly(fresh)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close(), Remove(fresh.dir))
		}
	}()
	h.names, h.young.lists.direct = new(directory), true
	h.growing = &growing{db: h.db, batch: &tableBatch{}, spare: &tableBatch{}}
	h.rebuilding, h.batch, h.spare, h.tree.keep = true, rebuildBatch{&tableBatch{}, h.growing}, rebuildBatch{&tableBatch{}, h.growing}, true
	if _, err := os.Stat(p.dir); err == nil {
		if err := h.keepSummaries(ctx, p, store); err != nil {
			return err
		}
	}
	if err := h.replay(ctx, store, progress); err != nil {
		return fmt.Errorf("rebuild the history: %w", err)
	}
	if err := h.Close(); err != nil {
		return err
	}
	if err := Remove(p.dir); err != nil {
		return err
	}
	return os.Rename(fresh.dir, p.dir)
}

func (h *History) replay(ctx context.Context, store eventstore.Store, progress func(at, head eventstore.Position)) error {
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	err = readDrafts(ctx, store, head, cmp.Or(h.place.packFrom, packFrom), func(events []eventstore.RecordedEvent, made *drafts) error {
		last := events[len(events)-1].Position
		if err := h.applyDrafts(events, made, last); err != nil {
			return err
		}
		progress(last, head)
		return nil
	})
	if err != nil {
		return err
	}
	if err := h.Apply(nil, head); err != nil {
		return err
	}
	progress(head, head)
	return nil
}

// addBlocks puts the blocks of drafts into the batch. leaf is the number of the first draft's leaf.
func (h *History) addBlocks(made *drafts, leaf int64) error {
	if err := h.writeBlocks(h.batch); err != nil { // those of entries before
		return err
	}
	h.young.emptied()
	for i := range made.blocks {
		b := &made.blocks[i]
		h.scratch = made.appendBlock(h.scratch[:0], b, leaf)
		if err := h.batch.Set(entryKey(made.positions[b.to-1]), h.scratch, nil); err != nil {
			return err
		}
		h.young.bytes += len(h.scratch)
	}
	return nil
}

// finishBeside is finish in a goroutine of its own, for which settled waits. Nobody reads meanwhile, and the lists that the goroutine
// writes grow no more, because commit makes new ones.
func (h *History) finishBeside() {
	written, done := h.batch, make(chan error, 1) // done gets one error and is never closed
	l := h.young.lists
	go func() {
		err := l.write(written)
		if err == nil {
			_, err = written.commit(h.db)
		}
		done <- err
	}()
	h.batch, h.spare, h.writing = h.spare, written, done
}

// settled waits until the engine has all batches that were handed to it.
func (x *index) settled() (err error) {
	if x.growing != nil {
		err = x.growing.wait()
	}
	if x.writing != nil {
		err = errors.Join(err, <-x.writing)
		x.writing = nil
	}
	return err
}

// keepSummaries takes over the summaries of an old folder, up to the hour of the oldest heartbeat in the store: the
// retention has removed heartbeats of these hours. If the old folder cannot be read, these summaries are lost.
func (h *History) keepSummaries(ctx context.Context, from place, store eventstore.Store) error {
	from.readOnly = true
	old, err := from.open()
	if err != nil {
		h.place.logger.Warn("the old history cannot be read; what only it knows of heartbeats is lost", "cause", err)
		return nil
	}
	defer func() { _ = old.db.Close() }() // nothing was written
	first, err := firstHour(ctx, store)
	if err != nil {
		return err
	}
	it, err := old.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeSummary}, UpperBound: []byte{rangeSummary + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	b := h.db.NewBatch()
	defer b.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if tail(it.Key()) > first {
			continue
		}
		if err := b.Set(it.Key(), it.Value(), nil); err != nil {
			return err
		}
		s := h.opened(string(it.Key()[1:len(it.Key())-9]), 0)
		s.sum = decodeSum(int32(tail(it.Key())), it.Value()) // the hours of an instance come in order, so the newest stays in memory
		s.seeded, s.lone = true, false
		if b.Len() > 1<<20 {
			if err := h.db.Commit(b); err != nil {
				return err
			}
			b.Reset()
		}
	}
	h.seeded = true
	return errors.Join(it.Error(), h.db.Commit(b))
}

// firstHour is the Unix hour of the oldest heartbeat in the store.
func firstHour(ctx context.Context, store eventstore.Store) (uint64, error) {
	filter := eventstore.Filter{StreamPrefixes: []string{eventstore.HeartbeatPrefix}}
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: filter, Limit: 1}) {
		return uint64(max(e.RecordedAt.Unix(), 0) / 3600), err
	}
	return ^uint64(0), nil
}
