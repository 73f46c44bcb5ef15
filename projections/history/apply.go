package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// What is in memory is written after this many heartbeats, or after this time by the events' recorded times. Young entries are
// also written when they are this long together. After a crash, what was only in memory is read from the store again.
const (
	flushHeartbeats = 1_000_000
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
	if h.unflushed >= flushHeartbeats || !h.rebuilding && now.Sub(h.flushed) >= flushAfter {
		h.flushed = now
		return h.commit(upTo, true)
	}
	if h.young.bytes >= flushEntries && (!h.rebuilding || h.young.bytes >= flushRebuilt) {
		return h.commit(0, false)
	}
	return nil
}

// take adds lifecycle events to the young entries, and heartbeats to the summaries.
func (h *History) take(events []eventstore.RecordedEvent, made *drafts) error {
	h.mu.Lock() // once for all events: most are heartbeats, which change only the summaries
	defer h.mu.Unlock()
	next := 0 // draft
	for i := range events {
		e := &events[i]
		var err error
		switch {
		case e.IsHeartbeat():
			err = h.noteHeartbeat(e)
		case e.Stream.Audited():
			if e.Position > h.lifecycle {
				err = h.addEntry(e, &made.list[next], made.canonical(next))
			}
			next++
			if err == nil {
				err = h.noteLifecycle(e)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// commit writes what is young, and the summaries of heartbeats if they are asked for, together with the state that the history
// has after it. heartbeats is the position up to which the summaries are.
//
// INVARIANT: the engine keeps the order of batches, so after a crash the folder has a state that the history once had, with
// all entries of that state. No sync is needed, because events can be read again.
func (h *History) commit(heartbeats eventstore.Position, summaries bool) error {
	if summaries {
		h.mu.Lock() // held until the batch is written, so that a query finds a summary in memory or on disk
		defer h.mu.Unlock()
		h.writeSummaries(h.batch)
	} else {
		heartbeats = h.summed
	}
	if err := h.writeYoung(h.batch); err != nil {
		return err
	}
	if err := h.batch.Set(keyState, h.state(heartbeats), nil); err != nil {
		return err
	}
	var err error
	if h.batch, err = h.batch.commit(h.db); err != nil {
		return err
	}
	h.summed = heartbeats
	h.young.written(h.lifecycle)
	h.segments.written()
	h.tree.committed()
	return nil
}

// writeYoung puts the young entries and their lists into a batch.
func (x *index) writeYoung(b batch) error {
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
	return x.writeLists(b)
}

// flush writes what is in memory.
func (h *History) flush(upTo eventstore.Position) error { return h.commit(upTo, true) }

func (h *History) addEntry(e *eventstore.RecordedEvent, d *draft, canonical []byte) error {
	leaf := h.tree.size
	if err := h.tree.add(h.batch, d.hash); err != nil {
		return err
	}
	eventType, subject := h.segments.open.names.place(d, e)
	h.young.add(e.Position, leaf, canonical, &d.terms, subject)
	if full := h.segments.add(e.Position, eventType, subject, d.step, leaf); full != nil {
		if err := h.seal(h.batch, full); err != nil {
			return err
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

var actorField = []byte(`{"actor":"`)

// actorOf reads the actor at the beginning of the metadata, where Rollcall writes it. If it is not there, the metadata is
// decoded. ok is false for metadata of another program that cannot be decoded.
func actorOf(metadata []byte) (actor string, ok bool) {
	if rest, found := bytes.CutPrefix(metadata, actorField); found {
		if end := bytes.IndexByte(rest, '"'); end >= 0 && bytes.IndexByte(rest[:end], '\\') < 0 {
			return string(rest[:end]), true
		}
	}
	var m domain.Metadata
	err := json.Unmarshal(metadata, &m)
	return m.Actor, err == nil
}

// summary sums up an instance's heartbeats of one hour. It is guarded by index.mu.
type summary struct {
	hour     int64 // Unix hours
	received uint64
	longest  int64     // the longest gap that ended in this hour, nanoseconds
	last     int64     // recorded time of the newest heartbeat or registration, Unix nanoseconds
	dirty    bool      // it is not on disk in this form yet
	seeded   bool      // it was taken over from an older folder, and has all events up to last
	gone     bool      // the instance has ended: writeSummaries drops the summary once it is written
	number   uint32    // of the heartbeat stream, see index.numbered; 0: not known
	earlier  []summary // of earlier hours, not on disk yet
}

func (s *summary) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, s.received)
	b = binary.AppendVarint(b, s.longest)
	return binary.AppendVarint(b, s.last)
}

func decodeSummary(hour int64, v []byte) summary {
	r := packed.Reader{B: v}
	return summary{hour: hour, received: r.Uvarint(), longest: r.Varint(), last: r.Varint()}
}

func (h *History) noteHeartbeat(e *eventstore.RecordedEvent) error {
	if _, ok := domain.RenewedCheck(e.Data); ok { // a report of a check is no heartbeat of its instance
		return nil
	}
	h.unflushed++
	n := e.StreamNumber
	if s := h.numbered.At(n); s != nil {
		s.hear(e.RecordedAt, true)
		return nil
	}
	s, err := h.opened(strings.TrimPrefix(string(e.Stream), eventstore.HeartbeatPrefix), false)
	if err != nil {
		return err
	}
	if n > 0 {
		h.numbered.Set(n, s)
		s.number = n
	}
	s.hear(e.RecordedAt, true)
	return nil
}

// noteLifecycle begins the gaps of a new epoch with its registration, and notes that an instance has ended.
func (h *History) noteLifecycle(e *eventstore.RecordedEvent) error {
	switch e.Type {
	case domain.TypeInstanceRegistered:
	case domain.TypeInstanceDeregistered, domain.TypeLeaseExpired:
		if s := h.open[strings.TrimPrefix(string(e.Stream), eventstore.LifecyclePrefix)]; s != nil {
			s.gone = true
		}
		return nil
	default:
		return nil
	}
	s, err := h.opened(strings.TrimPrefix(string(e.Stream), eventstore.LifecyclePrefix), e.Revision == 0)
	if err == nil {
		s.hear(e.RecordedAt, false)
	}
	return err
}

// opened is the instance's newest summary, made or read from disk where it is not in memory. isNew says that the instance
// is new, so that there is no summary on disk, except the ones that a rebuild keeps, which are in memory. REQUIRES: mu is
// held.
func (h *History) opened(name string, isNew bool) (*summary, error) {
	s := h.open[name]
	if s == nil {
		s = new(summary)
		if !isNew {
			var err error
			if s, err = h.newestSummary(name); err != nil {
				return nil, err
			}
		}
		h.open[strings.Clone(name)] = s
	}
	return s, nil
}

// hear adds a heartbeat or a registration to the summary of its hour. The summary in memory is the newest hour's. The
// summaries of earlier hours stay in earlier until a batch has them.
func (s *summary) hear(at time.Time, heartbeat bool) {
	hour := at.Unix() / 3600
	if s.seeded && at.UnixNano() <= s.last {
		return
	}
	s.seeded, s.gone = false, false
	if s.hour != hour {
		if s.dirty {
			s.earlier = append(s.earlier, *s)
		}
		*s = summary{hour: hour, last: s.last, earlier: s.earlier, number: s.number}
	}
	if heartbeat {
		if s.last != 0 {
			s.longest = max(s.longest, at.UnixNano()-s.last)
		}
		s.received++
	}
	s.last, s.dirty = at.UnixNano(), true
}

// newestSummary is the instance's newest summary on disk, or an empty one.
func (h *History) newestSummary(name string) (*summary, error) {
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: indexKey(rangeSummary, name, 0), UpperBound: indexKey(rangeSummary, name, ^uint64(0))})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	if !it.Last() {
		return &summary{}, it.Error()
	}
	s := decodeSummary(int64(tail(it.Key())), it.Value())
	s.seeded = h.seeded
	return &s, nil
}

// shrink gives memory back when few of the most summaries that were open are left. REQUIRES: mu is held.
func (h *History) shrink() {
	h.most = max(h.most, len(h.open))
	if h.most < 1024 || len(h.open) > h.most/4 {
		return
	}
	kept := make(map[string]*summary, len(h.open))
	maps.Copy(kept, h.open)
	h.open, h.most = kept, len(kept)
}

// writeSummaries puts the changed summaries into the batch. It drops the summaries of instances that have ended, and of
// instances without a heartbeat for hours, so that memory depends on the live instances only. REQUIRES: mu is held.
func (h *History) writeSummaries(b batch) {
	newest := int64(0)
	for _, s := range h.open {
		newest = max(newest, s.hour)
	}
	type named struct {
		name string
		*summary
	}
	var changed []named
	for name, s := range h.open {
		if s.dirty || len(s.earlier) > 0 {
			changed = append(changed, named{name, s})
		} else if (s.gone || s.hour < newest-2) && !h.seeded {
			h.drop(name, s)
		}
	}
	slices.SortFunc(changed, func(a, b named) int { return strings.Compare(a.name, b.name) }) // the engine takes keys in order several times as fast as others
	for _, s := range changed {
		for i := range s.earlier {
			h.setSummary(b, s.name, &s.earlier[i])
		}
		s.earlier = nil
		if s.dirty {
			h.setSummary(b, s.name, s.summary)
			s.dirty = false
		}
		if s.gone && !h.seeded {
			h.drop(s.name, s.summary)
		}
	}
	h.shrink()
	h.unflushed = 0
}

// setSummary puts a summary into a batch.
func (x *index) setSummary(b batch, name string, s *summary) {
	x.key = appendIndexKey(x.key[:0], rangeSummary, name, uint64(s.hour))
	x.scratch = s.encode(x.scratch[:0])
	_ = b.Set(x.key, x.scratch, nil)
}

// drop forgets a summary that is on disk. REQUIRES: mu is held.
func (x *index) drop(name string, s *summary) {
	delete(x.open, name)
	if s.number > 0 {
		x.numbered.Set(s.number, nil)
	}
}
