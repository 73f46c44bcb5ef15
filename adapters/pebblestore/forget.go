package pebblestore

import (
	"context"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Heads are forgotten when nothing was appended to their streams for a while, so that memory follows the streams that
// are in use, not all that ever were. A head that is needed again is loaded from disk.
//
// INVARIANT: of the heads of a stream that exist, exactly one is not forgotten once it is in the table, and the
// committer moves that one only. An appender may hold one that is forgotten meanwhile: the committer looks at forgotten,
// and takes the one of the table instead, loaded anew if need be.
//
// INVARIANT: a head is forgotten only when the disk has what it has and readers find it there: nothing of it is in the
// batch that is being filled, and it is not among the unsaved. Whoever began to load a head before another of the
// same shard was forgotten loads it again, for what was read may be older (headShard.forgotten).

const (
	// idleCycles is how many whole rounds of all shards a head stays without an append: 32 to 48 s.
	idleCycles = 2
	// shardsALook are looked through together. There is a look every checkEvery.
	shardsALook = 2
)

// idle is what the committer knows of how long heads have not been used. It is the committer's own.
type idle struct {
	cycle uint32 // rounds of all shards that have begun
	shard int    // next to be looked at
	marks [idleCycles]eventstore.Position
}

// forgetIdle has the next shards looked through for heads to forget. It does not wait for that.
func (s *Store) forgetIdle() {
	_ = s.submit(context.Background(), &pending{forget: true, done: make(chan struct{}, 1)}) // a store that closes forgets nothing
}

// forget looks through the next shards. It is called by the committer, before the requests of its call.
func (s *Store) forget(c *commit) {
	s.saveIdle(c, s.idle.marks[0])
	for range shardsALook {
		s.forgetShard(c)
	}
}

func (s *Store) forgetShard(c *commit) {
	d := &s.idle
	shard := &s.heads.shards[d.shard]
	shard.Lock()
	for _, h := range shard.m {
		if h.used+idleCycles <= d.cycle && !h.queued && h.last <= c.applied {
			s.forgetHead(shard, h)
		}
	}
	shard.shrink()
	shard.Unlock()
	if d.shard++; d.shard == len(s.heads.shards) {
		d.shard = 0
		d.cycle++
		s.heads.cycle.Store(d.cycle)
		copy(d.marks[:], d.marks[1:])
		d.marks[len(d.marks)-1] = s.next
	}
}

// saveIdle has heads written whose heartbeats are from before the position: other heartbeats would see to that, but
// there may come none.
func (s *Store) saveIdle(c *commit, before eventstore.Position) {
	u := &s.unsaved
	if u.first < len(u.queue) && u.queue[u.first].since < before {
		c.save = max(c.save, before)
	}
}

// forgetHead is called with the shard locked.
func (s *Store) forgetHead(shard *headShard, h *head) {
	delete(shard.m, h.stream)
	shard.forgotten++
	h.forgotten = true
	if other := h.other.Swap(nil); other != nil {
		other.other.CompareAndSwap(h, nil)
	}
	if h.number != 0 {
		s.numbers.set(h.number, nil)
	}
}

// otherOf is the head of the stream that the head's is tied to. It is the committer's.
func (s *Store) otherOf(h *head) (*head, error) {
	if other := h.other.Load(); other != nil && !other.forgotten {
		return other, nil
	}
	stream, ok := h.stream.Other()
	if !ok {
		return nil, eventstore.ErrNoOtherStream
	}
	other, err := s.head(stream)
	if err == nil {
		h.other.Store(other)
		other.other.Store(h)
	}
	return other, err
}

// shrink gives memory back when few of the most heads that there were are left. The shard is locked.
func (s *headShard) shrink() {
	s.most = max(s.most, len(s.m))
	if s.most < 64 || len(s.m) > s.most/4 {
		return
	}
	kept := make(map[eventstore.StreamName]*head, len(s.m))
	for stream, h := range s.m {
		kept[stream] = h
	}
	s.m, s.most = kept, len(kept)
}
