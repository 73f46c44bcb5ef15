package pebblestore

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// errDamaged refuses a stored value that this package did not write in this form.
var errDamaged = errors.New("damaged record")

const recordVersion = 1

// typeCodes shortens the known event types to a byte. A code never changes; 0 means that the name follows.
var typeCodes = map[string]byte{
	domain.TypeInstanceRegistered:      1,
	domain.TypeInstanceUpdated:         2,
	domain.TypeHeartbeatReceived:       3,
	domain.TypeHealthChanged:           4,
	domain.TypeTrafficChanged:          5,
	domain.TypeInstanceDeregistered:    6,
	domain.TypeLeaseExpired:            7,
	domain.TypeSelfPreservationStarted: 8,
	domain.TypeSelfPreservationEnded:   9,
}

var typeNames = func() (names [256]string) {
	for name, code := range typeCodes {
		names[code] = name
	}
	return names
}()

// appendRecord writes a lifecycle event's value: version, revision, time, id, stream, type, data, metadata.
func appendRecord(b []byte, e *eventstore.RecordedEvent) []byte {
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(e.Revision))
	b = binary.AppendVarint(b, e.RecordedAt.UnixNano())
	b = append(b, e.ID[:]...)
	b = packed.AppendBytes(b, e.Stream)
	b = appendType(b, e.Type)
	b = packed.AppendBytes(b, e.Data)
	return packed.AppendBytes(b, e.Metadata)
}

// readRecord decodes a record into e, if the filter picks the event. If the filter does not, the fields of e mean
// nothing. The event shares no memory with value: its texts are copied into the arena.
func readRecord(e *eventstore.RecordedEvent, p eventstore.Position, value []byte, filter *eventstore.Filter, texts *arena) (picked bool, err error) {
	r := reader{Reader: packed.Reader{B: value}}
	if r.Byte() != recordVersion {
		return false, errDamaged
	}
	e.Position = p
	e.Revision = eventstore.Revision(r.Uvarint())
	e.RecordedAt = time.Unix(0, r.Varint()).UTC()
	e.ID = r.id()
	stream := r.Bytes()
	e.Type = r.eventType()
	data, metadata := r.Bytes(), r.Bytes()
	if r.Failed {
		return false, errDamaged
	}
	if filter != nil && !filter.Match(text(stream), e.Type) {
		return false, nil
	}
	b := texts.alloc(len(stream) + len(data) + len(metadata))
	b = append(append(append(b, stream...), data...), metadata...)
	e.Stream, b = text(b[:len(stream)]), b[len(stream):]
	e.Data, e.Metadata = b[:len(data):len(data)], b[len(data):]
	return true, nil
}

// text is the bytes as a name, without a copy. REQUIRES: the bytes never change.
func text(b []byte) eventstore.StreamName {
	return eventstore.StreamName(unsafe.String(unsafe.SliceData(b), len(b)))
}

// arena allocates many small texts in larger chunks. A long read makes millions of texts. The first chunks are small,
// because most reads are short.
//
// INVARIANT: memory that was given out is never used again, so a reader may keep texts for as long as it likes. A text
// that is kept keeps its whole chunk.
type arena struct {
	rest []byte // of the newest chunk
	next int    // size of the next chunk
}

const (
	firstChunk   = 512
	largestChunk = 64 << 10
)

// alloc gives an empty slice with the capacity of n bytes.
func (p *arena) alloc(n int) []byte {
	if n > len(p.rest) {
		p.next = min(max(2*p.next, firstChunk), largestChunk)
		if n > p.next/4 { // a large text gets memory of its own, so that the rest of the chunk is not lost
			return make([]byte, 0, n)
		}
		p.rest = make([]byte, p.next)
	}
	taken := p.rest[:0:n]
	p.rest = p.rest[n:]
	return taken
}

func appendType(b []byte, name string) []byte {
	if code := typeCodes[name]; code != 0 {
		return append(b, code)
	}
	return packed.AppendBytes(append(b, 0), name)
}

// reader decodes a value.
type reader struct{ packed.Reader }

func (r *reader) id() (id uuid.UUID) {
	copy(id[:], r.Take(uint64(len(id))))
	return id
}

func (r *reader) eventType() string {
	code := r.Byte()
	if code == 0 {
		return string(r.Bytes())
	}
	if typeNames[code] == "" {
		r.Fail()
	}
	return typeNames[code]
}
