package pebblestore

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// errDamaged says that a stored value is not what this package wrote.
var errDamaged = errors.New("damaged record")

const recordVersion = 1

// typeCodes shortens the known event types to a byte. Codes are for ever; 0 means "spelled out".
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
	b = appendBytes(b, e.Stream)
	b = appendType(b, e.Type)
	b = appendBytes(b, e.Data)
	return appendBytes(b, e.Metadata)
}

// readRecord reads what appendRecord wrote if the filter picks it. The event shares no memory with
// value.
func readRecord(p eventstore.Position, value []byte, filter *eventstore.Filter) (e eventstore.RecordedEvent, picked bool, err error) {
	r := reader{b: value}
	if r.byte() != recordVersion {
		return e, false, errDamaged
	}
	e.Position = p
	e.Revision = eventstore.Revision(r.uvarint())
	e.RecordedAt = time.Unix(0, r.varint()).UTC()
	e.ID = r.id()
	stream := r.bytes()
	e.Type = r.eventType()
	data, metadata := r.bytes(), r.bytes()
	if r.failed {
		return e, false, errDamaged
	}
	e.Stream = eventstore.StreamName(stream)
	if filter != nil && !filter.Match(e.Stream, e.Type) {
		return e, false, nil
	}
	both := append(append(make([]byte, 0, len(data)+len(metadata)), data...), metadata...)
	e.Data, e.Metadata = both[:len(data):len(data)], both[len(data):]
	return e, true, nil
}

func appendBytes[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendType(b []byte, name string) []byte {
	if code := typeCodes[name]; code != 0 {
		return append(b, code)
	}
	return appendBytes(append(b, 0), name)
}

// reader takes a value apart. After a failure it yields zeroes and stays failed.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) take(n uint64) []byte {
	if r.failed || n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.take(uint64(len(r.b)) + 1)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) id() (id uuid.UUID) {
	copy(id[:], r.take(uint64(len(id))))
	return id
}

func (r *reader) eventType() string {
	code := r.byte()
	if code == 0 {
		return string(r.bytes())
	}
	if typeNames[code] == "" {
		r.take(uint64(len(r.b)) + 1)
	}
	return typeNames[code]
}
