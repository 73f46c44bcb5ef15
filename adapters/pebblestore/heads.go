package pebblestore

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/packed"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// head is what the committer must know of a stream.
//
// INVARIANT: a stream has at most one head that is not forgotten, and the committer appends by no other. So any goroutine may
// keep a pointer to a head (see forget.go). The goroutine that loads a head fills it before loadAndKeep publishes it. From then
// on only the committer reads and changes its fields, except for name, hash, lifecycle and heartbeats, which never change, and
// for readable and other, which any goroutine may use.
type head struct {
	name       string // of the stream; of an instance's lifecycle stream it is the name of its heartbeat stream: both share the memory
	events     uint64
	last       eventstore.Position  // of the newest event; 0: the stream has none
	readable   atomic.Uint64        // position of the newest heartbeat that readers can find; 0: there is none
	other      atomic.Pointer[head] // of the instance's other stream; nil: no append was tied to it yet
	number     uint32               // of a heartbeat stream; 0: it has none yet
	used       uint32               // cycle of the last append that needed the head; see idle
	hash       uint32               // of the stream, see heads.shard
	lifecycle  bool                 // the stream is an instance's lifecycle stream
	heartbeats bool                 // the stream is a heartbeat stream
	queued     bool                 // the stream is in the queue of unsaved
	forgotten  bool                 // the head is no longer in the table, see forget.go
}

// newHead is the head of a stream without events. name is the name of the head of the instance's other stream, whose memory
// is shared; "": the name is copied, because it may be a part of a larger piece of memory, which must not be kept for it.
func newHead(stream eventstore.StreamName, hash uint32, name string) *head {
	rest, lifecycle := strings.CutPrefix(string(stream), eventstore.LifecyclePrefix)
	switch {
	case name != "":
	case lifecycle:
		name = eventstore.HeartbeatPrefix + rest
	default:
		name = strings.Clone(string(stream))
	}
	return &head{name: name, hash: hash, lifecycle: lifecycle, heartbeats: stream.IsHeartbeat()}
}

// stream is the name of the head's stream. It is made anew for a lifecycle stream.
func (h *head) stream() eventstore.StreamName {
	if h.lifecycle {
		return eventstore.StreamName(eventstore.LifecyclePrefix + h.name[len(eventstore.HeartbeatPrefix):])
	}
	return eventstore.StreamName(h.name)
}

// Hash implements sparse.Item.
func (h *head) Hash() uint32 { return h.hash }

// Is implements sparse.Item: it says whether the head is the head of that stream.
func (h *head) Is(stream eventstore.StreamName) bool {
	if h.lifecycle {
		rest, ok := strings.CutPrefix(string(stream), eventstore.LifecyclePrefix)
		return ok && rest == h.name[len(eventstore.HeartbeatPrefix):]
	}
	return h.name == string(stream)
}

// prefetchBatch is how many heads are prefetched at once. Without that the committer would wait for memory at each head.
const prefetchBatch = 16

// prefetch reads each head, and the head of the other stream, in loops so short that the processor waits for several at
// the same time.
func prefetch(heads []*head) {
	for _, h := range heads {
		discard(h.events)
	}
	for _, h := range heads {
		if other := h.other.Load(); other != nil {
			discard(other.events)
		}
	}
}

// discard does nothing with a value. The compiler cannot leave out the read of the value.
//
//go:noinline
func discard(uint64) {}

// heads keeps the heads of the streams to which events were appended lately. The goroutine of an Append call loads the heads that the
// call needs, so that the committer waits for the disk only where a head was forgotten in between.
type heads struct {
	shards [1024]headShard // so many that a look through one of them takes well below a millisecond, see forget
	cycle  atomic.Uint32   // see idle
}

// headShard has some of the heads by their streams.
type headShard struct {
	sync.Mutex
	table     sparse.Table[eventstore.StreamName, head, *head]
	forgotten uint64 // how many heads of the shard were forgotten since the store was opened
}

// shard is the shard of a stream, and the stream's hash within it.
func (h *heads) shard(stream eventstore.StreamName) (*headShard, uint32) {
	return h.shardOf(xxhash.Sum64String(string(stream)))
}

// shardOf is shard for the whole hash of a stream.
func (h *heads) shardOf(hash uint64) (*headShard, uint32) {
	return &h.shards[hash%uint64(len(h.shards))], uint32(hash >> 32)
}

// head is a stream's head. It is loaded from disk when it is not known yet.
func (s *Store) head(stream eventstore.StreamName) (*head, error) { return s.headOf(stream, "", 0) }

// newcomer is head of a stream that is taken to have no events, as that of a new instance: it looks neither for the head nor for events
// where the filters know that there are none.
func (s *Store) newcomer(stream eventstore.StreamName) (*head, error) {
	hash := xxhash.Sum64String(string(stream))
	if h := s.first(stream, hash); h != nil {
		return h, nil
	}
	return s.head(stream)
}

// first makes the head of a stream that surely has no events and never had a head; nil: it may have.
func (s *Store) first(stream eventstore.StreamName, hash uint64) *head {
	shard, part := s.heads.shardOf(hash)
	shard.Lock()
	defer shard.Unlock()
	if !s.known.lacks(hash) {
		return nil
	}
	h := newHead(stream, part, "")
	s.keep(shard, h, hash)
	return h
}

// keep puts a head into the table. hash is the whole hash of its stream. REQUIRES: the shard is locked, and its table has no head of the
// stream.
func (s *Store) keep(shard *headShard, h *head, hash uint64) {
	h.used = s.heads.cycle.Load()
	s.known.add(hash)
	shard.table.Add(h)
}

// headOf is head with the name that newHead takes, and the number of a heartbeat stream; 0: the number is to be looked up.
func (s *Store) headOf(stream eventstore.StreamName, name string, number uint32) (*head, error) {
	hash := xxhash.Sum64String(string(stream))
	shard, part := s.heads.shardOf(hash)
	for {
		shard.Lock()
		h := shard.table.Find(part, stream)
		forgotten := shard.forgotten
		shard.Unlock()
		if h != nil {
			return h, nil
		}
		h = newHead(stream, part, name)
		h.number = number
		if h, ok, err := s.loadAndKeep(shard, h, stream, hash, forgotten); ok || err != nil {
			return h, err
		}
	}
}

// loadAndKeep loads a head. hash is the whole hash of its stream, and forgotten the number of heads of the shard that were forgotten
// before. ok is false if another one was forgotten meanwhile: it may be the same stream's, and newer than the head that was loaded.
func (s *Store) loadAndKeep(shard *headShard, h *head, stream eventstore.StreamName, hash, forgotten uint64) (kept *head, ok bool, err error) {
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.leave()
	quiet, err := s.loadHead(h, stream, hash)
	if err != nil {
		return nil, false, err
	}
	shard.Lock()
	defer shard.Unlock()
	if shard.forgotten != forgotten {
		return nil, false, nil
	}
	if known := shard.table.Find(h.hash, stream); known != nil { // another goroutine was faster, and the committer may have moved that head
		return known, true, nil
	}
	if quiet && !s.numbers.wake(h) { // it was not needed for so long that it was dropped right now
		return nil, false, nil
	}
	s.keep(shard, h, hash)
	if h.number != 0 && !quiet {
		s.numbers.set(h.number, h)
	}
	return h, true, nil
}

// tie loads the head of the instance's other stream, and makes the two heads point to each other.
func (s *Store) tie(h *head) error {
	if h.other.Load() != nil {
		return nil
	}
	_, err := s.tied(h)
	return err
}

// tied is tie of a head that has no other head.
func (s *Store) tied(h *head) (*head, error) {
	stream, ok := eventstore.StreamName(h.name), h.lifecycle
	if !ok {
		stream, ok = stream.Other()
	}
	if !ok {
		return nil, eventstore.ErrNoOtherStream
	}
	other, err := s.headOf(stream, h.name, 0)
	if err != nil {
		return nil, err
	}
	h.other.Store(other)
	other.other.Store(h)
	return other, nil
}

// loadHead reads what a head says of its stream. quiet says that it is a quiet head, of which only the number was set.
func (s *Store) loadHead(h *head, stream eventstore.StreamName, hash uint64) (quiet bool, err error) {
	if s.known.lacks(hash) {
		return false, nil
	}
	if h.heartbeats {
		return s.loadHeartbeatHead(h, stream)
	}
	return false, s.loadLifecycleHead(h, stream)
}

func (s *Store) loadLifecycleHead(h *head, stream eventstore.StreamName) error {
	if at, revision, ok := s.unindexed.newest(stream); ok {
		h.events, h.last = uint64(revision)+1, at
		return nil
	}
	// The filters of the tables tell of most new streams that they have no first event, without a read.
	if first, err := s.get(streamKey(stream, 0)); err != nil || first == nil {
		s.known.missed()
		return err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: streamKey(stream, 0)})
	if err != nil {
		return err
	}
	defer it.Close()
	end := streamKey(stream, 0)
	end[len(end)-9] = 1 // behind the last revision
	if !it.SeekLT(end) {
		return it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	h.events, h.last = tail(it.Key())+1, eventstore.Position(binary.BigEndian.Uint64(v))
	return nil
}

func (s *Store) loadHeartbeatHead(h *head, stream eventstore.StreamName) (quiet bool, err error) {
	if h.number == 0 {
		v, err := s.get(numberKey(stream))
		if err != nil || v == nil {
			s.known.missed()
			return false, err
		}
		h.number = binary.BigEndian.Uint32(v)
	}
	if s.numbers.isQuiet(h.number, 0) {
		return true, nil
	}
	v, err := s.get(number32(rangeHead, h.number))
	if err != nil || v == nil {
		return false, err
	}
	r := reader{Reader: packed.Reader{B: v}}
	h.events, h.last = r.Uvarint(), eventstore.Position(r.Uvarint())
	if r.Failed {
		return false, errDamaged
	}
	h.readable.Store(uint64(h.last))
	return false, nil
}

// get reads a key; a missing one is nil.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append([]byte{}, v...), nil
}
