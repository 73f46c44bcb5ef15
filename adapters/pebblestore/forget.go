package pebblestore

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A head is forgotten when nothing was appended for a while, neither to its stream nor to a stream that is tied to it. So memory
// depends on the streams in use and not on all streams that ever existed. What the head of a heartbeat stream says is kept in a
// few bytes for longer (quiet.go). Any other head that is needed again is loaded from disk.
//
// INVARIANT: of all heads of a stream, at most one is not forgotten, and that head is in the table. The committer changes
// only that head. A caller of Append may have a head that is forgotten meanwhile; the committer then uses the head in the
// table, and loads it where there is none.
//
// INVARIANT: a head is forgotten only when readers find its events: no event of the stream is in the batch that is being filled.
// It becomes a quiet head, or the disk has its content: the head is not in the queue of unsaved. A goroutine that began to load a
// head before a head of the same shard was forgotten loads it again, because what it read may be older (headShard.forgotten).

const (
	// idleCycles is the number of complete rounds over all shards for which a head is kept without an append: 32 to 36 s.
	idleCycles = 8
	// quietCycles is that number for heads that become quiet ones: 4 to 8 s.
	quietCycles = 2
	// shardsAtOnce is how many shards are looked through every checkEvery.
	shardsAtOnce = 128
	// headsAtOnce is after how many heads a look ends with the shard. Each look is in a commit of its own: an append waits for one
	// look at most, however many streams came and went.
	headsAtOnce = 1000
)

// idle measures how long heads have not been used. Only the committer uses it.
type idle struct {
	cycle uint32                          // number of complete rounds over all shards
	shard int                             // index of the shard at which the next look begins
	marks [idleCycles]eventstore.Position // the next position at the end of each of the last rounds, oldest first
	found []*head                         // memory of forgetIn
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
		if s.look(shardsAtOnce) != nil {
			return // the store closes
		}
	}
}

// look has the committer look through the next shards, and waits for that.
func (s *Store) look(shards int) error {
	p := &pending{forget: shards, done: make(chan struct{}, 1)}
	for p.forget > 0 {
		if err := s.submit(context.Background(), p); err != nil {
			return err
		}
		<-p.done
	}
	return nil
}

// forget looks through the next shards, at most those that the call asks for, and notes how many are left. REQUIRES: the
// committer calls it, before it carries out the requests of the call.
func (s *Store) forget(c *commit, p *pending) {
	s.saveIdle(c, s.idle.marks[0])
	for looked := 0; p.forget > 0 && looked < headsAtOnce; p.forget-- {
		looked += s.forgetIn(c, &s.heads.shards[s.idle.shard])
		s.numbers.thin(s.idle.shard, len(s.heads.shards), s.nextNumber, s.idle.cycle)
		s.idle.next(s)
	}
}

// next moves on to the next shard.
func (d *idle) next(s *Store) {
	d.shard++
	if d.shard < len(s.heads.shards) {
		return
	}
	d.shard = 0
	d.cycle++
	s.heads.cycle.Store(d.cycle)
	copy(d.marks[:], d.marks[1:])
	d.marks[len(d.marks)-1] = s.next
}

// forgetIn forgets heads of a shard, and says how many heads it had.
func (s *Store) forgetIn(c *commit, shard *headShard) (looked int) {
	shard.Lock()
	defer shard.Unlock()
	idle := s.idle.found[:0] // gathered first, because a removal moves other heads
	for h := range shard.table.All() {
		if h.last <= c.applied && s.idle.over(h) {
			idle = append(idle, h)
		}
	}
	looked = shard.table.Len()
	for _, h := range idle {
		s.forgetHead(shard, h)
	}
	clear(idle)
	if s.idle.found = idle; cap(idle) > headsAtOnce { // a shard has so many in a store of a million streams
		s.idle.found = nil
	}
	return looked
}

// over says whether a head was not used for long.
func (d *idle) over(h *head) bool {
	if h.mayBeQuiet() {
		return h.used+quietCycles <= d.cycle
	}
	return h.used+idleCycles <= d.cycle && !h.queued
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
		s.numbers.quieten(h, s.idle.cycle)
	}
}

// otherOf is the head of the other stream of the instance. REQUIRES: the committer calls it.
func (s *Store) otherOf(h *head) (*head, error) {
	if other := h.other.Load(); other != nil && !other.forgotten {
		return other, nil
	}
	return s.tied(h)
}
