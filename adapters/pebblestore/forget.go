package pebblestore

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A head is forgotten when nothing was appended for a while, neither to its stream nor to a stream that is tied to it. So memory
// depends on the streams in use and not on all streams that ever existed. A head that is needed again is loaded from disk.
//
// INVARIANT: of all heads of a stream, at most one is not forgotten, and that head is in the table. The committer changes
// only that head. A caller of Append may have a head that is forgotten meanwhile; the committer then uses the head in the
// table, and loads it where there is none.
//
// INVARIANT: a head is forgotten only when the disk has its content and readers find it there: no event of the stream is in
// the batch that is being filled, and the head is not in the queue of unsaved. A goroutine that began to load a head before
// a head of the same shard was forgotten loads it again, because what it read may be older (headShard.forgotten).

const (
	// idleCycles is the number of complete rounds over all shards for which a head is kept without an append: 32 to 48 s.
	idleCycles = 2
	// looks is how many shards are looked through every checkEvery, each in a commit of its own: an append waits for one look at
	// most, however many streams came and went.
	looks = 32
)

// idle measures how long heads have not been used. Only the committer uses it.
type idle struct {
	cycle uint32                          // number of complete rounds over all shards
	shard int                             // index of the shard at which the next look begins
	marks [idleCycles]eventstore.Position // the next position at the end of each of the last rounds, oldest first
}

// forgetIdle has the committer look through the shards, one after the other, until the store closes.
func (s *Store) forgetIdle() {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
		}
		for range looks {
			if s.look() != nil {
				return // the store closes
			}
		}
	}
}

// look has the committer look through the next shard, and waits for that.
func (s *Store) look() error {
	p := &pending{forget: true, done: make(chan struct{}, 1)}
	if err := s.submit(context.Background(), p); err != nil {
		return err
	}
	<-p.done
	return nil
}

// forget looks through the next shard. REQUIRES: the committer calls it, before it carries out the requests of the call.
func (s *Store) forget(c *commit) {
	s.saveIdle(c, s.idle.marks[0])
	d := &s.idle
	shard := &s.heads.shards[d.shard]
	shard.Lock()
	var idle []*head // gathered first, because a removal moves other heads
	for h := range shard.table.All() {
		if h.used+idleCycles <= d.cycle && !h.queued && h.last <= c.applied {
			idle = append(idle, h)
		}
	}
	for _, h := range idle {
		s.forgetHead(shard, h)
	}
	shard.Unlock()
	d.shard++
	if d.shard == len(s.heads.shards) {
		d.shard = 0
		d.cycle++
		s.heads.cycle.Store(d.cycle)
		copy(d.marks[:], d.marks[1:])
		d.marks[len(d.marks)-1] = s.next
	}
}

// saveIdle has the heads written whose oldest unwritten heartbeat is before the position. Further heartbeats would have them
// written, too, but there may be none.
func (s *Store) saveIdle(c *commit, before eventstore.Position) {
	u := &s.unsaved
	if u.first < len(u.queue) && u.queue[u.first].since < before {
		c.save = max(c.save, before)
	}
}

// forgetHead removes a head from the table. REQUIRES: the shard is locked.
func (s *Store) forgetHead(shard *headShard, h *head) {
	shard.table.Remove(h)
	shard.forgotten++
	h.forgotten = true
	if other := h.other.Swap(nil); other != nil {
		other.other.CompareAndSwap(h, nil)
	}
	if h.number != 0 {
		s.numbers.set(h.number, nil)
	}
}

// otherOf is the head of the other stream of the instance. REQUIRES: the committer calls it.
func (s *Store) otherOf(h *head) (*head, error) {
	if other := h.other.Load(); other != nil && !other.forgotten {
		return other, nil
	}
	return s.tied(h)
}
