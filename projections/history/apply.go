package history

import (
	"cmp"
	"encoding/binary"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// What is in memory is written after this many heartbeats, or after this time by the events' recorded times, or, but in a rebuild, when this
// many summaries have changed: the engine takes no batch of some MiB without memory for it alone (ADR 171). Young entries are
// also written when they are this long together. After a crash, what was only in memory is read from the store again.
const (
	flushHeartbeats = 1_000_000
	flushSummaries  = 1 << 17
	flushEntries    = 4 << 20  // bytes
	flushRebuilt    = 64 << 20 // bytes, in a rebuild, whose lists become longer and whose tables become fewer for it
	flushAfter      = 5 * time.Second
)

// Apply applies events. upTo is the position up to which the store was read. Lifecycle events that were applied before are
// passed over, because after a crash events come again. REQUIRES: events come in position order, from one goroutine.
func (h *History) Apply(events []eventstore.RecordedEvent, upTo eventstore.Position) error {
	h.drafts.make(events)
	return h.applyDrafts(events, &h.drafts, upTo)
}

// applyDrafts is Apply of events of which there are drafts already.
func (h *History) applyDrafts(events []eventstore.RecordedEvent, made *drafts, upTo eventstore.Position) error {
	if err := h.take(events, made); err != nil {
		return err
	}
	h.leaves.Store(h.tree.size)
	if err := h.flushWhenDue(events, upTo); err != nil {
		return err
	}
	h.Advance(upTo)
	return nil
}

func (h *History) flushWhenDue(events []eventstore.RecordedEvent, upTo eventstore.Position) error {
	if len(events) == 0 {
		return nil
	}
	now := events[len(events)-1].RecordedAt
	if h.flushed.IsZero() {
		h.flushed = now
	}
	live := !h.rebuilding && (len(h.changed) >= flushSummaries || now.Sub(h.flushed) >= flushAfter)
	if live || h.unflushed >= cmp.Or(h.place.flushHeartbeats, flushHeartbeats) {
		h.flushed = now
		return h.commit(upTo, true)
	}
	if h.young.bytes >= flushEntries && !h.rebuilding || h.rebuilding && h.young.bytes >= cmp.Or(h.place.flushRebuilt, flushRebuilt) {
		return h.commit(0, false)
	}
	return nil
}

// take adds lifecycle events to the young entries, and heartbeats to the summaries.
func (h *History) take(events []eventstore.RecordedEvent, made *drafts) error {
	h.mu.Lock() // once for all events: most are heartbeats, which change only the summaries
	defer h.mu.Unlock()
	leaf, packed := h.tree.size, len(made.blocks) > 0 && made.positions[0] > h.lifecycle
	if err := h.takeAll(events, made, packed); err != nil {
		return err
	}
	if packed {
		return h.addBlocks(made, leaf)
	}
	return nil
}

// takenAtOnce is how many lifecycle events are taken under one lock. To lock for each of them takes a tenth of the time, and readers wait
// meanwhile.
const takenAtOnce = 16

// takeAll is take but for the blocks of drafts. REQUIRES: mu is held.
func (h *History) takeAll(events []eventstore.RecordedEvent, made *drafts, packed bool) error {
	known := upTo(made.positions, h.lifecycle)
	leaf := h.tree.size - int64(known) // of the first draft
	if err := h.tree.add(h.batch, made.list[known:]); err != nil {
		return err
	}
	if len(made.list) > 0 {
		h.lockYoung()
		defer h.unlockYoung()
	}
	next := 0 // draft
	for i := range events {
		e := &events[i]
		var err error
		switch {
		case e.IsHeartbeat():
			h.noteHeartbeat(e)
		case e.Stream.Audited():
			d := &made.list[next]
			var of *subject
			if h.names != nil {
				of = h.names.subject(&d.terms, d.name, e.Stream)
			}
			if e.Position > h.lifecycle {
				err = h.addEntry(e, d, of, leaf+int64(next), made.canonical(next), packed)
			}
			if err == nil {
				h.noteLifecycle(e, of)
			}
			if next++; next%takenAtOnce == 0 {
				h.unlockYoung()
				h.lockYoung()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lockYoung keeps readers from what is in memory of entries, until unlockYoung.
func (h *History) lockYoung() {
	h.young.mu.Lock()
	h.segments.mu.Lock()
}

func (h *History) unlockYoung() {
	h.segments.mu.Unlock()
	h.young.mu.Unlock()
}

// commit writes what is young, and the summaries of heartbeats if they are asked for, together with the state that the history
// has after it. heartbeats is the position up to which the summaries are.
//
// INVARIANT: the engine keeps the order of batches, so after a crash the folder has a state that the history once had, with
// all entries of that state. No sync is needed, because events can be read again.
func (h *History) commit(heartbeats eventstore.Position, summaries bool) error {
	if err := h.settled(); err != nil { // the engine has all earlier batches, which writeSummaries may read
		return err
	}
	if summaries {
		h.mu.Lock() // held until the batch is written, so that a query finds a summary in memory or on disk
		defer h.mu.Unlock()
		if err := h.writeSummaries(h.batch); err != nil {
			return err
		}
	} else {
		heartbeats = h.summed
	}
	if err := h.writeBlocks(h.batch); err != nil {
		return err
	}
	if err := h.batch.Set(keyState, h.state(heartbeats), nil); err != nil {
		return err
	}
	if err := h.finish(); err != nil {
		return err
	}
	h.summed = heartbeats
	h.young.written(h.lifecycle)
	h.segments.written()
	h.tree.committed()
	return nil
}

// finish puts the young lists into the batch, hands the batch to the engine, and makes the next one.
func (h *History) finish() (err error) {
	if h.rebuilding {
		h.finishBeside()
		return nil
	}
	if err := h.young.lists.write(h.batch); err != nil {
		return err
	}
	h.batch, err = h.batch.commit(h.db)
	return err
}

// writeBlocks puts the young entries into a batch.
func (x *index) writeBlocks(b batch) error {
	_, full, last := x.young.blocks()
	if len(last.positions) > 0 {
		packed, _ := last.pack(nil)
		full = append(full[:len(full):len(full)], packedBlock{last.first(), last.last(), packed})
	}
	for i := range full {
		if err := b.Set(entryKey(full[i].last), full[i].v, nil); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what is in memory.
func (h *History) flush(upTo eventstore.Position) error {
	if err := h.commit(upTo, true); err != nil {
		return err
	}
	if h.growing != nil {
		if err := h.growing.handOver(); err != nil {
			return err
		}
	}
	return h.settled()
}

// addEntry adds an entry whose leaf has a number. subject is the entry's in a rebuild; nil: it is looked up. packed says that the entry's
// block is made already. REQUIRES: lockYoung was called.
func (h *History) addEntry(e *eventstore.RecordedEvent, d *draft, subject *subject, leaf int64, canonical []byte, packed bool) error {
	var eventType uint32
	if subject != nil {
		eventType = h.segments.open.placeOf(d, subject)
	} else {
		eventType, subject = h.segments.open.names.place(d, e)
	}
	if packed {
		h.young.note(e.Position, &d.terms, subject)
	} else {
		h.young.add(e.Position, leaf, canonical, &d.terms, subject)
	}
	if full := h.segments.add(e.Position, eventType, subject, d.step, leaf); full != nil {
		h.unlockYoung() // readers would wait for some milliseconds
		err := h.seal(h.batch, full)
		h.lockYoung()
		if err != nil {
			return err
		}
		if h.rebuilding {
			h.segments.open.reuse(full)
		}
	}
	if at := e.RecordedAt.UnixNano(); at-h.indexed >= int64(time.Second) {
		h.indexed = at
		if err := h.batch.Set(timeKey(e.RecordedAt), binary.BigEndian.AppendUint64(nil, uint64(e.Position)), nil); err != nil {
			return err
		}
	}
	h.lifecycle = e.Position
	return nil
}
