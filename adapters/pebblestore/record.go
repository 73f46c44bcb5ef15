package pebblestore

import (
	"errors"
	"unsafe"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// errDamaged refuses a stored value that this package did not write in this form.
var errDamaged = errors.New("damaged record")

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
