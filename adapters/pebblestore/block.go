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

// The forms of a block. A replica writes rows until its node goes back to no version that reads only these (TakeNewestFormat).
const (
	blockOfRows    = 1
	blockOfColumns = 2
)

const (
	flagOwnID = 1 << iota // the caller gave the id, and the block holds it
	flagRaw               // the block holds type and data, not only an epoch
)

// The columns of a block: what it holds of each heartbeat in numbers.
const (
	columnPosition = iota // less that of the block's first heartbeat
	columnNumber          // of the stream
	columnRevision
	columnBack     // positions back to the heartbeat before in the same stream, 0: there is none
	columnMetadata // index in the block's metadata
	columnFlags
	columnEpoch // 0 of a raw heartbeat
	columns
)

// block collects heartbeats of one commit. A heartbeat takes ten bytes at most, as a rule: its stream is a number, its metadata an
// index, its data an epoch, and its id follows from its position. Those of a batch that comes again and again take next to nothing,
// see appendColumn.
//
// INVARIANT: all heartbeats of a block have the same time. The committer owns the block; metadata points into the
// requests of the commit, which stay until the commit is answered.
type block struct {
	form     byte      // blockOfRows or blockOfColumns
	at       time.Time // of all its heartbeats
	first    eventstore.Position
	count    int
	metadata [][]byte
	columns  [columns][maxBlock]uint64
	extra    []byte // of each heartbeat with flags, what they say
	ends     []int  // where in extra that of a heartbeat with flags ends
}

// add appends a heartbeat. previous is the position of the stream's heartbeat before this one, or 0. These positions
// are the chain by which a heartbeat stream is read. REQUIRES: the block is not full.
func (b *block) add(e *eventstore.RecordedEvent, number uint32, previous eventstore.Position, ownID bool) {
	if b.count == 0 {
		b.at, b.first = e.RecordedAt, e.Position
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
		b.extra = append(b.extra, e.ID[:]...)
	}
	if !dense {
		flags |= flagRaw
		b.extra = packed.AppendBytes(appendType(b.extra, e.Type), e.Data)
	}
	if flags != 0 {
		b.ends = append(b.ends, len(b.extra))
	}
	i := b.count
	b.columns[columnPosition][i] = uint64(e.Position - b.first)
	b.columns[columnNumber][i] = uint64(number)
	b.columns[columnRevision][i] = uint64(e.Revision)
	b.columns[columnBack][i] = back
	b.columns[columnMetadata][i] = uint64(m)
	b.columns[columnFlags][i] = uint64(flags)
	b.columns[columnEpoch][i] = epoch
	b.count++
}

func (b *block) full() bool { return b.count >= maxBlock }

func (b *block) reset() {
	clear(b.metadata)
	b.count, b.metadata, b.extra, b.ends = 0, b.metadata[:0], b.extra[:0], b.ends[:0]
}

// encode appends the block's value: form, count, time, the distinct metadata, the heartbeats.
func (b *block) encode(w []byte) []byte {
	w = append(w, b.form)
	w = binary.AppendUvarint(w, uint64(b.count))
	w = binary.AppendVarint(w, b.at.UnixNano())
	w = binary.AppendUvarint(w, uint64(len(b.metadata)))
	for _, m := range b.metadata {
		w = packed.AppendBytes(w, m)
	}
	if b.form == blockOfRows {
		return b.appendRows(w)
	}
	for i := range b.columns {
		w = appendColumn(w, b.columns[i][:b.count])
	}
	return append(w, b.extra...)
}

// appendRows appends the heartbeats one by one.
func (b *block) appendRows(w []byte) []byte {
	var last uint64 // position
	from, ends := 0, b.ends
	for i := range b.count {
		w = binary.AppendUvarint(w, b.columns[columnPosition][i]-last)
		last = b.columns[columnPosition][i]
		for c := columnNumber; c < columnFlags; c++ {
			w = binary.AppendUvarint(w, b.columns[c][i])
		}
		flags := byte(b.columns[columnFlags][i])
		w = append(w, flags)
		if flags != 0 {
			w = append(w, b.extra[from:ends[0]]...)
			from, ends = ends[0], ends[1:]
		}
		if flags&flagRaw == 0 {
			w = binary.AppendUvarint(w, b.columns[columnEpoch][i])
		}
	}
	return w
}

// heartbeat is one entry of a decoded block.
type heartbeat struct {
	event    eventstore.RecordedEvent // without the stream's name
	previous eventstore.Position
}

// decodeBlock decodes a block into the slice into. The heartbeats share no memory with value.
func (s *Store) decodeBlock(first eventstore.Position, value []byte, into []heartbeat) ([]heartbeat, error) {
	r := reader{Reader: packed.Reader{B: value}}
	form := r.Byte()
	if form != blockOfRows && form != blockOfColumns {
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
	d := decoding{reader: r, store: s, first: first, at: at, metadata: metadata}
	into = slices.Grow(into[:0], int(count))[:count]
	clear(into)
	if form == blockOfRows {
		d.rows(into)
	} else {
		d.columns(into)
	}
	if d.Failed || len(d.B) > 0 {
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
