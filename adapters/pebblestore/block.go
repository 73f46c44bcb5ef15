package pebblestore

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// maxBlock is how many heartbeats one block holds at most. It is large enough for heartbeats to share their time and
// metadata, and small enough that decoding a block for one heartbeat is cheap.
const maxBlock = 256

const blockVersion = 1

const (
	flagOwnID = 1 << iota // the caller gave the id, and the entry holds it
	flagRaw               // the entry holds type and data, not only an epoch
)

// block collects heartbeats of one commit. A heartbeat takes about ten bytes: its stream is a number, its metadata an
// index, its data an epoch, and its id follows from its position.
//
// INVARIANT: all heartbeats of a block have the same time. The committer owns the block; metadata points into the
// requests of the commit, which stay until the commit is answered.
type block struct {
	at          time.Time // of all its heartbeats
	first, last eventstore.Position
	count       int
	metadata    [][]byte
	entries     []byte
}

// add appends a heartbeat. previous is the position of the stream's heartbeat before this one, or 0. These positions
// are the chain by which a heartbeat stream is read.
func (b *block) add(e *eventstore.RecordedEvent, number uint32, previous eventstore.Position, ownID bool) {
	if b.count == 0 {
		b.at, b.first, b.last = e.RecordedAt, e.Position, e.Position
	}
	m := slices.IndexFunc(b.metadata, func(m []byte) bool { return string(m) == string(e.Metadata) })
	if m < 0 {
		m = len(b.metadata)
		b.metadata = append(b.metadata, e.Metadata)
	}
	var back uint64
	if previous != 0 {
		back = uint64(e.Position - previous)
	}
	epoch, dense := HeartbeatEpoch(e.Type, e.Data)
	var flags byte
	if ownID {
		flags |= flagOwnID
	}
	if !dense {
		flags |= flagRaw
	}
	w := binary.AppendUvarint(b.entries, uint64(e.Position-b.last))
	w = binary.AppendUvarint(w, uint64(number))
	w = binary.AppendUvarint(w, uint64(e.Revision))
	w = binary.AppendUvarint(w, back)
	w = binary.AppendUvarint(w, uint64(m))
	w = append(w, flags)
	if ownID {
		w = append(w, e.ID[:]...)
	}
	if dense {
		w = binary.AppendUvarint(w, epoch)
	} else {
		w = packed.AppendBytes(appendType(w, e.Type), e.Data)
	}
	b.entries, b.last = w, e.Position
	b.count++
}

func (b *block) full() bool { return b.count >= maxBlock }

func (b *block) reset() {
	clear(b.metadata)
	*b = block{metadata: b.metadata[:0], entries: b.entries[:0]}
}

// encode appends the block's value: version, count, time, the distinct metadata, the heartbeats.
func (b *block) encode(w []byte) []byte {
	w = append(w, blockVersion)
	w = binary.AppendUvarint(w, uint64(b.count))
	w = binary.AppendVarint(w, b.at.UnixNano())
	w = binary.AppendUvarint(w, uint64(len(b.metadata)))
	for _, m := range b.metadata {
		w = packed.AppendBytes(w, m)
	}
	return append(w, b.entries...)
}

// heartbeat is one entry of a decoded block.
type heartbeat struct {
	event    eventstore.RecordedEvent // without the stream's name
	previous eventstore.Position
}

// decodeBlock decodes a block into the slice into. The heartbeats share no memory with value.
func (s *Store) decodeBlock(first eventstore.Position, value []byte, into []heartbeat) ([]heartbeat, error) {
	r := reader{Reader: packed.Reader{B: value}}
	if r.Byte() != blockVersion {
		return nil, errDamaged
	}
	count := r.Uvarint()
	at := time.Unix(0, r.Varint()).UTC()
	if count > maxBlock {
		return nil, errDamaged
	}
	metas := r.Uvarint()
	if metas > count {
		return nil, errDamaged
	}
	metadata := make([][]byte, metas)
	for i := range metadata {
		metadata[i] = slices.Clone(r.Bytes())
	}
	into = slices.Grow(into[:0], int(count))
	position := first
	for range count {
		position += eventstore.Position(r.Uvarint())
		var h heartbeat
		h.event.Timeline = s.timelines.Of(position)
		h.event.Position, h.event.RecordedAt, h.event.StreamNumber = position, at, uint32(r.Uvarint())
		h.event.Revision = eventstore.Revision(r.Uvarint())
		if back := r.Uvarint(); back != 0 {
			h.previous = position - eventstore.Position(back)
		}
		m := r.Uvarint()
		if m >= metas {
			return nil, errDamaged
		}
		h.event.Metadata = metadata[m]
		flags := r.Byte()
		if flags&flagOwnID != 0 {
			h.event.ID = r.id()
		} else {
			h.event.ID = s.derivedID(position, at)
		}
		if flags&flagRaw != 0 {
			h.event.Type = r.eventType()
			h.event.Data = slices.Clone(r.Bytes())
		} else {
			h.event.Type, h.event.Data = domain.TypeHeartbeatReceived, domain.HeartbeatReceived{Epoch: r.Uvarint()}.Encode()
		}
		into = append(into, h)
	}
	if r.Failed || len(r.B) > 0 {
		return nil, errDamaged
	}
	return into, nil
}

// HeartbeatEpoch gives the epoch of a heartbeat whose data HeartbeatReceived.Encode would make again byte by byte. ok is
// false for all other data.
func HeartbeatEpoch(eventType string, data []byte) (epoch uint64, ok bool) {
	const prefix = `{"epoch":`
	n := len(data) - 1
	if eventType != domain.TypeHeartbeatReceived || n <= len(prefix) || string(data[:len(prefix)]) != prefix || data[n] != '}' {
		return 0, false
	}
	digits := data[len(prefix):n]
	if digits[0] == '0' && len(digits) > 1 || len(digits) > 19 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		epoch = epoch*10 + uint64(c-'0')
	}
	return epoch, true
}

// derivedID makes the id of a heartbeat that was appended without an id: a UUIDv7 (RFC 9562) with the time of the event.
// The other bits follow from the store's id and the position, so the id need not be stored.
func (s *Store) derivedID(p eventstore.Position, at time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[8:], mix(s.salt^uint64(p)))
	low := uint16(mix(s.salt + uint64(p)))
	ms := uint64(at.UnixMilli())
	binary.BigEndian.PutUint64(id[:8], ms<<16|uint64(0x7000|low&0x0fff))
	id[8] = id[8]&0x3f | 0x80
	return id
}

// mix spreads a number over all its bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
