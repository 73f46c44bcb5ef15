package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Summaries of heartbeats are written when so many came or so much time has passed, by the events'
// clock; until then they are in memory, and after a crash their heartbeats are read again.
const (
	flushHeartbeats = 1_000_000
	flushAfter      = 5 * time.Second
)

// Apply takes in events in position order, looked through up to a position. Lifecycle events that
// were applied before are passed over, which is how it goes on after a crash.
func (h *History) Apply(events []eventstore.RecordedEvent, upTo eventstore.Position) error {
	b := h.db.NewBatch()
	defer b.Close()
	if err := h.take(b, events); err != nil {
		return err
	}
	if n := len(events); n > 0 {
		now := events[n-1].RecordedAt
		if h.flushed.IsZero() {
			h.flushed = now
		}
		if h.unflushed >= flushHeartbeats || now.Sub(h.flushed) >= flushAfter {
			h.flushed = now
			if err := h.commit(b, upTo, true); err != nil {
				return err
			}
			h.Advance(upTo)
			return nil
		}
	}
	if !b.Empty() {
		if err := h.commit(b, 0, false); err != nil {
			return err
		}
	}
	h.Advance(upTo)
	return nil
}

// take puts what is to be kept of the events into the batch and the summaries.
func (h *History) take(b *pebble.Batch, events []eventstore.RecordedEvent) error {
	h.mu.Lock() // once: most events are heartbeats, and the summaries are all that they touch
	defer h.mu.Unlock()
	for i := range events {
		e := &events[i]
		var err error
		switch {
		case e.IsHeartbeat():
			err = h.noteHeartbeat(e)
		case e.Stream.Audited():
			if e.Position > h.lifecycle {
				err = h.addEntry(b, e)
			}
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

// commit writes a batch with the state it leads to. The engine keeps batches in order, so what a crash leaves
// is a state that was; no sync is needed, for events can be read again.
func (h *History) commit(b *pebble.Batch, heartbeats eventstore.Position, summaries bool) error {
	if summaries {
		h.mu.Lock() // until the batch is written: who asks finds a summary in memory or on disk
		defer h.mu.Unlock()
		h.writeSummaries(b)
	} else {
		heartbeats = h.summed
	}
	if err := h.writePostings(b); err != nil {
		return err
	}
	if err := b.Set(keyState, h.state(heartbeats), nil); err != nil {
		return err
	}
	if err := h.db.Commit(b); err != nil {
		return err
	}
	h.summed = heartbeats
	h.tree.committed()
	h.leaves.Store(h.tree.size)
	return nil
}

// flush writes the summaries in memory.
func (h *History) flush(upTo eventstore.Position) error {
	b := h.db.NewBatch()
	defer b.Close()
	return h.commit(b, upTo, true)
}

func (h *History) addEntry(b *pebble.Batch, e *eventstore.RecordedEvent) error {
	h.scratch = binary.AppendUvarint(h.scratch[:0], uint64(h.tree.size))
	leaf := len(h.scratch)
	h.scratch = eventstore.AppendCanonical(h.scratch, e)
	if err := b.Set(entryKey(e.Position), h.scratch, nil); err != nil {
		return err
	}
	if err := h.tree.add(b, h.scratch[leaf:]); err != nil {
		return err
	}
	index := func(prefix byte, name string) {
		t := term{prefix, name}
		h.postings[t] = append(h.postings[t], e.Position)
	}
	if instance, ok := strings.CutPrefix(string(e.Stream), eventstore.LifecyclePrefix); ok {
		index(rangeInstance, instance)
		if last := strings.LastIndexByte(instance, '/'); last >= 0 {
			index(rangeService, instance[:last])
		}
		namespace, _, _ := strings.Cut(instance, "/")
		index(rangeNamespace, namespace)
	} else {
		index(rangeInstance, string(e.Stream))
	}
	index(rangeType, e.Type)
	if actor, ok := actorOf(e.Metadata); ok {
		index(rangeActor, actor)
	}
	if at := e.RecordedAt.UnixNano(); at-h.indexed >= int64(time.Second) {
		h.indexed = at
		if err := b.Set(timeKey(e.RecordedAt), binary.BigEndian.AppendUint64(nil, uint64(e.Position)), nil); err != nil {
			return err
		}
	}
	h.lifecycle = e.Position
	return nil
}

var actorField = []byte(`{"actor":"`)

// actorOf reads the actor from where Rollcall writes it, at the beginning, and decodes the metadata
// only when it is not there. Another writer's metadata may be anything.
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

// summary is what an instance's heartbeats of one hour come to.
type summary struct {
	hour     int64 // Unix hours
	received uint64
	longest  int64 // gap that ended in this hour, nanoseconds
	last     int64 // when last heard (a registration counts), Unix nanoseconds
	dirty    bool  // not on disk yet
	seeded   bool  // events up to last are in it already
	gone     bool  // the instance is: its summary is let go of once it is written
	number   int   // of its heartbeat stream, see History.numbered; 0: not known
	earlier  []summary
}

func (s *summary) encode() []byte {
	b := binary.AppendUvarint(nil, s.received)
	b = binary.AppendVarint(b, s.longest)
	return binary.AppendVarint(b, s.last)
}

func decodeSummary(hour int64, v []byte) (s summary) {
	s.hour = hour
	var n int
	s.received, n = binary.Uvarint(v)
	v = v[max(n, 0):]
	s.longest, n = binary.Varint(v)
	s.last, _ = binary.Varint(v[max(n, 0):])
	return s
}

func (h *History) noteHeartbeat(e *eventstore.RecordedEvent) error {
	h.unflushed++
	n := int(e.StreamNumber)
	if n < len(h.numbered) && h.numbered[n] != nil {
		h.numbered[n].hear(e.RecordedAt, true)
		return nil
	}
	s, err := h.opened(strings.TrimPrefix(string(e.Stream), eventstore.HeartbeatPrefix), false)
	if err != nil {
		return err
	}
	if n > 0 {
		if n >= len(h.numbered) {
			h.numbered = append(h.numbered, make([]*summary, n+1-len(h.numbered))...)
		}
		h.numbered[n], s.number = s, n
	}
	s.hear(e.RecordedAt, true)
	return nil
}

// noteLifecycle lets the gaps of a new epoch begin with its registration, and notes that an instance is gone.
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

// opened is the instance's newest summary. Of an instance that is new nothing can be on disk but what a
// rebuild keeps, which is open. The caller holds mu.
func (h *History) opened(name string, isNew bool) (*summary, error) {
	s := h.open[name]
	if s == nil {
		if s = new(summary); !isNew {
			var err error
			if s, err = h.newestSummary(name); err != nil {
				return nil, err
			}
		}
		h.open[strings.Clone(name)] = s
	}
	return s, nil
}

// hear adds a heartbeat, or a registration, to its hour. The summary that is open is the newest
// hour's; earlier ones stay with it until they are written, together with the state that says so.
func (s *summary) hear(at time.Time, beat bool) {
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
	if beat {
		if s.last != 0 {
			s.longest = max(s.longest, at.UnixNano()-s.last)
		}
		s.received++
	}
	s.last, s.dirty = at.UnixNano(), true
}

// newestSummary is the instance's newest on disk, or an empty one.
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

// writeSummaries puts the changed summaries into the batch, and lets go of those whose instances are gone or
// have been silent for hours: what is in memory follows what lives. The caller holds mu.
func (h *History) writeSummaries(b *pebble.Batch) {
	newest := int64(0)
	for _, s := range h.open {
		newest = max(newest, s.hour)
	}
	for name, s := range h.open {
		for i := range s.earlier {
			_ = b.Set(indexKey(rangeSummary, name, uint64(s.earlier[i].hour)), s.earlier[i].encode(), nil)
		}
		s.earlier = nil
		if s.dirty {
			_ = b.Set(indexKey(rangeSummary, name, uint64(s.hour)), s.encode(), nil)
			s.dirty = false
			if !s.gone {
				continue
			}
		}
		if (s.gone || s.hour < newest-2) && !h.seeded {
			delete(h.open, name)
			if s.number > 0 {
				h.numbered[s.number] = nil
			}
		}
	}
	h.unflushed = 0
}
