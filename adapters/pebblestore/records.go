package pebblestore

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// A value of the range of lifecycle events begins with its version: earlier revisions gave each event a value of its own.
const (
	aloneVersion   = 1
	recordsVersion = 2
)

// fullRecords is the size in bytes at which a value takes no further event. With it the engine has one key for some thirty registrations
// to write, to sort and to merge, and one event is found in a microsecond.
const fullRecords = 8 << 10

// records collects lifecycle events of one commit, which become one value (ADR 137). The key is the position of the first one.
//
// INVARIANT: the committer owns the records; metadata points into the requests of the commit, which stay until the commit is answered.
type records struct {
	alone       bool // each event becomes a value, of the version before
	first, last eventstore.Position
	at          int64  // when the last event was recorded, Unix nanoseconds
	metadata    []byte // of the last event
	value       []byte // empty: there are no events
}

// add appends an event: position and time less those of the event before, revision, id, stream, type, data, metadata. Metadata that is as
// that of the event before is 0, other metadata comes after its length and one more. A value of one event has no position, and metadata after
// its length.
func (r *records) add(e *eventstore.RecordedEvent) {
	if len(r.value) == 0 {
		r.first, r.last = e.Position, e.Position
		r.value = append(r.value, r.version())
	}
	at := e.RecordedAt.UnixNano()
	w := r.value
	if !r.alone {
		w = binary.AppendUvarint(w, uint64(e.Position-r.last))
	}
	w = binary.AppendUvarint(w, uint64(e.Revision))
	w = binary.AppendVarint(w, at-r.at)
	w = append(w, e.ID[:]...)
	w = packed.AppendBytes(w, e.Stream)
	w = appendType(w, e.Type)
	w = packed.AppendBytes(w, e.Data)
	switch {
	case r.alone:
		w = packed.AppendBytes(w, e.Metadata)
	case string(e.Metadata) == string(r.metadata):
		w = append(w, 0)
	default:
		w = append(binary.AppendUvarint(w, uint64(len(e.Metadata))+1), e.Metadata...)
	}
	r.value, r.last, r.at, r.metadata = w, e.Position, at, e.Metadata
}

func (r *records) version() byte {
	if r.alone {
		return aloneVersion
	}
	return recordsVersion
}

func (r *records) full() bool { return r.alone || len(r.value) >= fullRecords }

func (r *records) reset() { *r = records{alone: r.alone, value: r.value[:0]} }

// recordReader reads the events of a value, in their order. Between two calls of next its fields are what the value has of one event;
// stream, data and metadata are parts of the value.
type recordReader struct {
	reader
	alone    bool // the value is of the version before
	position eventstore.Position
	at       int64 // Unix nanoseconds
	revision eventstore.Revision
	id       uuid.UUID
	stream   []byte
	kind     string
	data     []byte
	metadata []byte
	copied   []byte // the metadata as events have it; nil: no event has it yet
}

// readRecords begins to read a value. first is the position in its key.
func readRecords(first eventstore.Position, value []byte) (recordReader, error) {
	r := recordReader{reader: reader{Reader: packed.Reader{B: value}}, position: first}
	version := r.Byte()
	r.alone = version == aloneVersion
	if !r.alone && version != recordsVersion || len(r.B) == 0 {
		return r, errDamaged
	}
	return r, nil
}

// next moves to the next event; ok is false behind the last one, and where the value is damaged.
func (r *recordReader) next() (ok bool) {
	if r.Failed || len(r.B) == 0 {
		return false
	}
	if !r.alone {
		r.position += eventstore.Position(r.Uvarint())
	}
	r.revision = eventstore.Revision(r.Uvarint())
	r.at += r.Varint()
	r.id = r.reader.id()
	r.stream = r.Bytes()
	r.kind = r.eventType()
	r.data = r.Bytes()
	switch n := r.Uvarint(); {
	case r.alone:
		r.metadata = r.Take(n)
		r.B = nil
	case n > 0:
		r.metadata, r.copied = r.Take(n-1), nil
	}
	return !r.Failed
}

// find moves to the event at a position; ok is false where the value has none.
func (r *recordReader) find(p eventstore.Position) (ok bool) {
	for ok = r.next(); ok && r.position < p; {
		ok = r.next()
	}
	return ok && r.position == p
}

// err says whether the value is damaged. REQUIRES: next was false.
func (r *recordReader) err() error {
	if r.Failed {
		return errDamaged
	}
	return nil
}

// event is the event as readers have it, but for its timeline. It shares no memory with the value: its texts are copied into the arena.
func (r *recordReader) event(e *eventstore.RecordedEvent, texts *arena) {
	size := len(r.stream) + len(r.data)
	if r.copied == nil {
		size += len(r.metadata)
	}
	b := texts.alloc(size)
	if r.copied == nil {
		b = append(b, r.metadata...)
		r.copied, b = b[:len(b):len(b)], b[len(b):]
	}
	b = append(append(b, r.stream...), r.data...)
	*e = eventstore.RecordedEvent{
		EventData: eventstore.EventData{ID: r.id, Type: r.kind, Data: b[len(r.stream):], Metadata: r.copied},
		Stream:    text(b[:len(r.stream)]), Revision: r.revision, Position: r.position, RecordedAt: time.Unix(0, r.at).UTC(),
	}
}

// lifecycleSource yields lifecycle events.
type lifecycleSource struct {
	cursor
	filter      *eventstore.Filter
	first, last eventstore.Position // the positions asked for; the value that holds first may begin before it
	events      []eventstore.RecordedEvent
	i           int // index of the event to yield next
	texts       arena
}

func (s *Store) lifecycleSource(from, to eventstore.Position, opts *eventstore.ReadAllOptions) (source, error) {
	if places, ok, err := s.narrow(from, to, opts); err != nil || ok {
		return &streamsSource{cursor: cursor{store: s}, filter: &opts.Filter, places: places}, err
	}
	begin, err := s.blockBefore(rangeLifecycle, from)
	if err != nil {
		return nil, err
	}
	c, err := s.cursor(rangeLifecycle, begin, to, opts.Backwards)
	return &lifecycleSource{cursor: c, filter: &opts.Filter, first: from, last: to}, err
}

func (l *lifecycleSource) next() (*eventstore.RecordedEvent, error) {
	for {
		if l.i >= 0 && l.i < len(l.events) {
			e := &l.events[l.i]
			if l.back {
				l.i--
			} else {
				l.i++
			}
			return e, nil
		}
		p, v, ok, err := l.cursor.next()
		if err != nil || !ok {
			return nil, err
		}
		if err := l.read(p, v); err != nil {
			if err := l.damaged(p, err); err != nil {
				return nil, err
			}
			l.events = l.events[:0]
		}
		l.i = 0
		if l.back {
			l.i = len(l.events) - 1
		}
	}
}

// read reads the events of a value that the filter picks.
func (l *lifecycleSource) read(first eventstore.Position, value []byte) error {
	l.events = l.events[:0]
	r, err := readRecords(first, value)
	if err != nil {
		return err
	}
	for r.next() {
		if r.position < l.first || r.position > l.last || !l.filter.Match(text(r.stream), r.kind) {
			continue
		}
		l.events = append(l.events, eventstore.RecordedEvent{})
		e := &l.events[len(l.events)-1]
		r.event(e, &l.texts)
		e.Timeline = l.store.timelines.Of(r.position)
	}
	if !l.back {
		l.at = r.position // what the cursor may find damaged comes behind this value
	}
	return r.err()
}
