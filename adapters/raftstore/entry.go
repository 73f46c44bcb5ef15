package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// An entry of the log is the leader's stamp (version of the rules and time) and a body, which a node made: a block of appends, a position
// before which heartbeats are removed, notes, or a later version of the rules (rules.go). A node stops at an entry that it does not understand, because it cannot know
// what the other nodes make of it.
const (
	stampSize = 9 // bytes: the version of the rules, then the time in Unix nanoseconds

	bodyBlock = 1
	bodyTrim  = 2
	bodyNotes = 3
	bodyRules = 4
)

// errEntry refuses an entry that this version does not understand.
var errEntry = errors.New("an entry of the log cannot be understood: a newer version of rollcall wrote it, or it is damaged")

// origin says which block of which node a block is. A node counts its blocks from 1 anew in every incarnation. A block that
// is sent again keeps its origin, so that it is carried out once.
type origin struct {
	node        uint64
	incarnation uint64 // number of the start of the node's process, from 1
	number      uint64
}

// unstamped is an entry's data with a copy of a body. The stamp is yet to be filled in.
func unstamped(body []byte) []byte {
	return append(make([]byte, stampSize, stampSize+len(body)), body...)
}

// stamp fills in the leader's version of the rules and its time.
func stamp(entry []byte, rules uint64, at int64) []byte {
	entry[0] = byte(rules)
	binary.BigEndian.PutUint64(entry[1:], uint64(at))
	return entry
}

// unstamp gives the version of the rules, the time and the body of an entry.
func unstamp(data []byte) (rules uint64, at int64, body []byte, err error) {
	if len(data) <= stampSize || data[0] == 0 {
		return 0, 0, nil, errEntry
	}
	return uint64(data[0]), int64(binary.BigEndian.Uint64(data[1:])), data[stampSize:], nil
}

// readable says whether a body is of a kind that this version knows. The leader proposes no other.
func readable(body []byte) bool {
	return len(body) > 0 && body[0] >= bodyBlock && body[0] <= bodyRules
}

func encodeTrim(before eventstore.Position) []byte {
	return binary.AppendUvarint([]byte{bodyTrim}, uint64(before))
}

func decodeTrim(body []byte) (eventstore.Position, error) {
	r := reader{Reader: packed.Reader{B: body[1:]}}
	before := eventstore.Position(r.Uvarint())
	return before, r.end()
}

// The flags of a request.
const (
	flagNumbered = 1 << iota // the stream goes by its number
	flagTied                 // Other follows
	flagTogether
	flagTerm // Term follows
)

// The forms of an expected revision.
const (
	expectAny = iota
	expectNoStream
	expectExists
	expectExactly
)

// The flags of an event.
const (
	flagID    = 1 << iota // the event has an id
	flagEpoch             // the event is a heartbeat, of which only the epoch is written
)

// builder writes the requests of a call. A block is its origin, and then the requests of several calls. Metadata that events
// of a call share is written once.
type builder struct {
	b        []byte
	metadata [][]byte
}

// appendOrigin writes the part of a block before its requests.
func appendOrigin(b []byte, of origin) []byte {
	b = append(b, bodyBlock)
	b = binary.BigEndian.AppendUint64(b, of.node)
	b = binary.BigEndian.AppendUint64(b, of.incarnation)
	return binary.BigEndian.AppendUint64(b, of.number)
}

// encodeRequests writes the requests of a call. REQUIRES: there is one.
func encodeRequests(requests []eventstore.AppendRequest) []byte {
	size := 64 + len(requests[0].Stream) // most calls have one request
	for i := range requests[0].Events {
		e := &requests[0].Events[i]
		size += 16 + len(e.ID) + len(e.Type) + len(e.Data) + len(e.Metadata)
	}
	w := builder{b: binary.AppendUvarint(make([]byte, 0, size), uint64(len(requests)))}
	for i := range requests {
		w.request(&requests[i])
	}
	return w.b
}

const (
	numberAt   = 1 + 8 + 8    // where a block has its number
	originSize = numberAt + 8 // bytes of the part of a block before its requests
)

// renumber gives a block another number. The block's bytes may be on their way to the leader, so they are copied.
func renumber(body []byte, number uint64) []byte {
	body = slices.Clone(body)
	binary.BigEndian.PutUint64(body[numberAt:], number)
	return body
}

func (w *builder) request(r *eventstore.AppendRequest) {
	var flags byte
	if r.StreamNumber != 0 {
		flags |= flagNumbered
	}
	if !r.Other.IsAny() {
		flags |= flagTied
	}
	if r.Together {
		flags |= flagTogether
	}
	if r.Term != 0 {
		flags |= flagTerm
	}
	w.b = append(w.b, flags)
	if r.StreamNumber != 0 {
		w.b = binary.AppendUvarint(w.b, uint64(r.StreamNumber))
	} else {
		w.bytes([]byte(r.Stream))
	}
	w.expected(r.Expected)
	if flags&flagTied != 0 {
		w.expected(r.Other)
	}
	if flags&flagTerm != 0 {
		w.b = binary.AppendUvarint(w.b, r.Term)
	}
	w.b = binary.AppendUvarint(w.b, uint64(len(r.Events)))
	for i := range r.Events {
		w.event(&r.Events[i])
	}
}

func (w *builder) event(e *eventstore.EventData) {
	var flags byte
	if e.ID != [16]byte{} {
		flags |= flagID
	}
	epoch, dense := pebblestore.HeartbeatEpoch(e.Type, e.Data)
	if dense {
		flags |= flagEpoch
	}
	w.b = append(w.b, flags)
	if flags&flagID != 0 {
		w.b = append(w.b, e.ID[:]...)
	}
	if dense {
		w.b = binary.AppendUvarint(w.b, epoch)
	} else {
		w.bytes([]byte(e.Type))
		w.bytes(e.Data)
	}
	same := func(m []byte) bool { return string(m) == string(e.Metadata) }
	if i := slices.IndexFunc(w.metadata, same); i >= 0 {
		w.b = binary.AppendUvarint(w.b, uint64(i)+1)
		return
	}
	w.b = binary.AppendUvarint(w.b, 0)
	w.bytes(e.Metadata)
	if len(w.metadata) < sharedMetadata {
		w.metadata = append(w.metadata, e.Metadata)
	}
}

// sharedMetadata is how many different metadata of a block later events can refer to.
const sharedMetadata = 32

func (w *builder) expected(e eventstore.ExpectedRevision) {
	revision, exact := e.Exact()
	switch {
	case e.IsAny():
		w.b = append(w.b, expectAny)
	case e.IsNoStream():
		w.b = append(w.b, expectNoStream)
	case exact:
		w.b = binary.AppendUvarint(append(w.b, expectExactly), uint64(revision))
	default:
		w.b = append(w.b, expectExists)
	}
}

func (w *builder) bytes(b []byte) {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(b))), b...)
}

// decodeOrigin reads the origin of a block.
func decodeOrigin(body []byte) (of origin, err error) {
	if len(body) < originSize || body[0] != bodyBlock {
		return of, errEntry
	}
	return origin{
		binary.BigEndian.Uint64(body[1:]), binary.BigEndian.Uint64(body[9:]), binary.BigEndian.Uint64(body[numberAt:]),
	}, nil
}

// decodeRequests reads the requests of a block into a slice, and their events into a buffer. They share no memory with the body, which is
// far larger than an event that somebody may keep.
func decodeRequests(body []byte, into []eventstore.AppendRequest, events *[]eventstore.EventData) ([]eventstore.AppendRequest, error) {
	r := reader{Reader: packed.Reader{B: body[originSize:]}}
	var metadata [][]byte // of the events of one call
	calls := uint64(0)    // requests that the call still has
	for ; len(r.B) > 0; calls-- {
		if calls == 0 {
			calls, metadata = r.Uvarint(), metadata[:0]
		}
		var q eventstore.AppendRequest
		flags := r.Byte()
		if flags&flagNumbered != 0 {
			q.StreamNumber = uint32(r.Uvarint())
		} else {
			q.Stream = eventstore.StreamName(r.Bytes())
		}
		q.Expected = r.expected()
		if flags&flagTied != 0 {
			q.Other = r.expected()
		}
		if flags&flagTerm != 0 {
			q.Term = r.Uvarint()
		}
		q.Together = flags&flagTogether != 0
		n := r.Uvarint()
		if n > uint64(len(r.B)) {
			return nil, errEntry
		}
		from, to := len(*events), len(*events)+int(n)
		*events = slices.Grow(*events, int(n))[:to] // requests before keep the array that they have
		q.Events = (*events)[from:to:to]
		for i := range q.Events {
			metadata = r.event(&q.Events[i], metadata)
		}
		into = append(into, q)
	}
	if calls != 0 {
		return nil, errEntry
	}
	return into, r.end()
}

// reader reads a body.
type reader struct {
	packed.Reader
	metadata []byte // what was read last: heartbeats of one caller have the same
	kind     string // the type of an event that was read last: those of a block are often the same
}

func (r *reader) end() error {
	if r.Failed || len(r.B) > 0 {
		return errEntry
	}
	return nil
}

func (r *reader) expected() eventstore.ExpectedRevision {
	switch r.Byte() {
	case expectAny:
		return eventstore.Any()
	case expectNoStream:
		return eventstore.NoStream()
	case expectExists:
		return eventstore.StreamExists()
	case expectExactly:
		return eventstore.Exactly(eventstore.Revision(r.Uvarint()))
	}
	r.Fail()
	return eventstore.Any()
}

func (r *reader) event(e *eventstore.EventData, metadata [][]byte) [][]byte {
	flags := r.Byte()
	if flags&flagID != 0 {
		copy(e.ID[:], r.Take(uint64(len(e.ID))))
	}
	if flags&flagEpoch != 0 {
		e.Type, e.Data = domain.TypeHeartbeatReceived, domain.HeartbeatReceived{Epoch: r.Uvarint()}.Encode()
	} else {
		if b := r.Bytes(); string(b) != r.kind {
			r.kind = string(b)
		}
		e.Type = r.kind
		e.Data = slices.Clone(r.Bytes())
	}
	if i := r.Uvarint(); i > 0 {
		if i > uint64(len(metadata)) {
			r.Fail()
			return metadata
		}
		e.Metadata = metadata[i-1]
		return metadata
	}
	if e.Metadata = r.Bytes(); string(e.Metadata) != string(r.metadata) {
		r.metadata = slices.Clone(e.Metadata)
	}
	e.Metadata = r.metadata
	if len(metadata) < sharedMetadata {
		metadata = append(metadata, e.Metadata)
	}
	return metadata
}

func (o origin) String() string {
	return fmt.Sprintf("block %d.%d of %x", o.incarnation, o.number, o.node)
}
