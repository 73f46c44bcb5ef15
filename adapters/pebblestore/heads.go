package pebblestore

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// head is what the committer must know of a stream.
type head struct {
	events uint64
	last   eventstore.Position // of the newest event
	number uint32              // of a heartbeat stream; 0 while it has none
}

// heads remembers the head of every stream that was appended to. Only the committer changes a
// head; an appender may load one ahead of it, so that the committer seldom waits for the disk.
type heads struct {
	shards [64]struct {
		sync.Mutex
		m map[eventstore.StreamName]head
	}
}

func newHeads() *heads {
	h := &heads{}
	for i := range h.shards {
		h.shards[i].m = make(map[eventstore.StreamName]head)
	}
	return h
}

// get is a stream's head, loaded from disk when it is not known yet.
func (s *Store) head(stream eventstore.StreamName) (head, error) {
	shard := &s.heads.shards[xxhash.Sum64String(string(stream))%uint64(len(s.heads.shards))]
	shard.Lock()
	h, ok := shard.m[stream]
	shard.Unlock()
	if ok {
		return h, nil
	}
	h, err := s.loadHead(stream)
	if err != nil {
		return h, err
	}
	shard.Lock()
	defer shard.Unlock()
	if known, ok := shard.m[stream]; ok { // the committer was faster, and has moved it perhaps
		return known, nil
	}
	shard.m[stream] = h
	return h, nil
}

func (s *Store) setHead(stream eventstore.StreamName, h head) {
	shard := &s.heads.shards[xxhash.Sum64String(string(stream))%uint64(len(s.heads.shards))]
	shard.Lock()
	shard.m[stream] = h
	shard.Unlock()
}

func (s *Store) loadHead(stream eventstore.StreamName) (h head, err error) {
	if stream.IsHeartbeat() {
		return s.loadHeartbeatHead(stream)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: streamKey(stream, 0)})
	if err != nil {
		return h, err
	}
	defer it.Close()
	end := streamKey(stream, 0)
	end[len(end)-9] = 1 // behind the last revision
	if !it.SeekLT(end) {
		return h, it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return h, err
	}
	return head{events: tail(it.Key()) + 1, last: eventstore.Position(binary.BigEndian.Uint64(v))}, nil
}

func (s *Store) loadHeartbeatHead(stream eventstore.StreamName) (h head, err error) {
	v, err := s.get(numberKey(stream))
	if err != nil || v == nil {
		return h, err
	}
	h.number = binary.BigEndian.Uint32(v)
	if v, err = s.get(number32(rangeHead, h.number)); err != nil || v == nil {
		return h, err
	}
	r := reader{b: v}
	h.events, h.last = r.uvarint(), eventstore.Position(r.uvarint())
	if r.failed {
		return h, errDamaged
	}
	return h, nil
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

// names turns the numbers of heartbeat streams back into names.
type names struct {
	sync.RWMutex
	byNumber []eventstore.StreamName // [0] is unused
}

// streamOf is the name of the stream with that number.
func (s *Store) streamOf(number uint32) (eventstore.StreamName, error) {
	s.names.RLock()
	if int(number) < len(s.names.byNumber) && s.names.byNumber[number] != "" {
		name := s.names.byNumber[number]
		s.names.RUnlock()
		return name, nil
	}
	s.names.RUnlock()
	v, err := s.get(number32(rangeName, number))
	if err != nil {
		return "", err
	}
	if v == nil {
		return "", errDamaged
	}
	name := eventstore.StreamName(v)
	s.nameStream(number, name)
	return name, nil
}

func (s *Store) nameStream(number uint32, name eventstore.StreamName) {
	s.names.Lock()
	defer s.names.Unlock()
	for int(number) >= len(s.names.byNumber) {
		s.names.byNumber = append(s.names.byNumber, "")
	}
	s.names.byNumber[number] = name
}
