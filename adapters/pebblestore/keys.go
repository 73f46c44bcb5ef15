package pebblestore

import (
	"encoding/binary"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The key ranges. Lifecycle events and heartbeats have ranges of their own, so that an audit never reads over heartbeats
// and the retention is one range deletion.
//
//	m/<name>                     facts about the store
//	e/<position>                 lifecycle events (records.go); the position is the first one's
//	s/<stream> 00 <revision>     place of that lifecycle event; may be behind (lateindex.go)
//	h/<position>                 a block of heartbeats; the position is its first one's (block.go)
//	n/<stream>                   number of a heartbeat stream
//	N/<number>                   stream of that number
//	k/<number>                   head of that stream: number of events, newest position; may be behind (heads.go)
//	t/<time>                     the position of an event recorded at that time; at most one key a second
//	o/<name>                     a note of a replica (notes.go)
const (
	rangeMeta       = 'm'
	rangeLifecycle  = 'e'
	rangeStream     = 's'
	rangeHeartbeats = 'h'
	rangeNumber     = 'n'
	rangeName       = 'N'
	rangeHead       = 'k'
	rangeTime       = 't'
	rangeNote       = 'o'
)

var (
	keyFormat    = []byte("m/format")
	keyStoreID   = []byte("m/store-id")
	keySchema    = []byte("m/schema")    // newest version of the events' form, 4 bytes
	keyTrimmed   = []byte("m/trimmed")   // heartbeats at lower positions were removed by the retention
	keyTimelines = []byte("m/timelines") // timeline.go
	keyMark      = []byte("m/mark")      // of a replica: where in the log it is, see Block
	keyIndexed   = []byte("m/indexed")   // lifecycle events up to this position are in the index of the streams; see lateindex.go
	keyHeads     = []byte("m/heads")     // the heads of heartbeat streams on disk include all heartbeats up to this position
)

func key64(prefix byte, n uint64) []byte { return appendKey64(nil, prefix, n) }

func appendKey64(b []byte, prefix byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefix, '/'), n)
}

func lifecycleKey(p eventstore.Position) []byte { return key64(rangeLifecycle, uint64(p)) }
func blockKey(p eventstore.Position) []byte     { return key64(rangeHeartbeats, uint64(p)) }
func timeKey(t time.Time) []byte                { return key64(rangeTime, uint64(t.UnixNano())) }

func number32(prefix byte, n uint32) []byte { return appendNumber32(nil, prefix, n) }

func appendNumber32(b []byte, prefix byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, prefix, '/'), n)
}

func streamKey(stream eventstore.StreamName, r eventstore.Revision) []byte {
	return appendStreamKey(make([]byte, 0, len(stream)+11), stream, r)
}

func appendStreamKey(b []byte, stream eventstore.StreamName, r eventstore.Revision) []byte {
	b = append(append(append(b, rangeStream, '/'), stream...), 0)
	return binary.BigEndian.AppendUint64(b, uint64(r))
}

func numberKey(stream eventstore.StreamName) []byte {
	return append([]byte{rangeNumber, '/'}, stream...)
}

// place is where a lifecycle event is.
type place struct {
	at  eventstore.Position // of the event
	key eventstore.Position // in the key of the value that has the event
}

// append writes a place. An event that is the first one of its value has its position only, as every event had up to format 2.
func (p place) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.at))
	if p.at == p.key {
		return b
	}
	return binary.AppendUvarint(b, uint64(p.at-p.key))
}

// placeIn reads a value of the index of the streams.
func placeIn(value []byte) place {
	at := eventstore.Position(binary.BigEndian.Uint64(value))
	back, _ := binary.Uvarint(value[8:])
	return place{at, at - eventstore.Position(back)}
}

// after is an upper bound for every key of the range.
func after(prefix byte) []byte { return []byte{prefix, '/' + 1} }

// tail reads the number at the end of a key.
func tail(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
