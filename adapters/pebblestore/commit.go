package pebblestore

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// commit is one group commit: calls that are checked, written and synced as one.
//
// INVARIANT: the committer (commitAppends) owns a commit until it sends it to Store.commits; from then on answerCommits
// does. block, heartbeatHeads, key and scratch are the committer's buffers: it takes them back before it sends the
// commit, and uses them for the next one.
type commit struct {
	calls   []*pending
	bytes   int
	at      time.Time
	batches []*pebble.Batch     // applied to Pebble in this order; nearly always one
	out     *published          // the events; shared with subscribers, who must not change them, once they are published
	last    eventstore.Position // the newest position in the store when this commit is durable
	handed  time.Time           // when the first batch was handed to Pebble
	err     error

	replicated     *Block              // which the requests belong to; nil: the store is no replica
	batch          *pebble.Batch       // is being filled; nil: there is nothing to write yet
	heartbeatHeads []*head             // of the streams of the heartbeats in batch
	save           eventstore.Position // see pending
	applied        eventstore.Position // the newest position that is in batches, and so readable
	block          block
	key            []byte // buffer for the key being written
	scratch        []byte // buffer for the value being written
}

// commitAppends is the committer. INVARIANT: no other goroutine gives positions or moves heads. It ends, and closes
// Store.commits, when the store closes and the queue is empty.
func (s *Store) commitAppends() {
	defer close(s.commits)
	var spare commit // holds the buffers between two commits
	for {
		c := s.gather()
		if c == nil {
			return
		}
		c.block, c.key, c.scratch, c.heartbeatHeads = spare.block, spare.key, spare.scratch, spare.heartbeatHeads
		s.write(c)
		spare.block, spare.key, spare.scratch, spare.heartbeatHeads = c.block, c.key, c.scratch, c.heartbeatHeads
		s.commits <- c
	}
}

// gather waits for a call, and takes the calls that are in the queue with it. It returns nil when the store closes and
// no call is left.
func (s *Store) gather() *commit {
	var first *pending
	select {
	case first = <-s.queue:
	case <-s.closing:
		select {
		case first = <-s.queue:
		default:
			return nil
		}
	}
	// Goroutines that can run now may be about to append, too. A commit of many calls costs as much as a commit of
	// one. Where no other goroutine can run, yielding costs nothing.
	runtime.Gosched()
	c := &commit{calls: make([]*pending, 1, 1+len(s.queue)), bytes: first.bytes}
	c.calls[0] = first
	requests := len(first.requests)
	for more := true; more && c.bytes < maxCommitBytes; {
		select {
		case p := <-s.queue:
			c.calls = append(c.calls, p)
			c.bytes += p.bytes
			requests += len(p.requests)
		default:
			more = false
		}
	}
	c.out = publications.Get().(*published)
	c.out.events, c.out.onlyHeartbeats = slices.Grow(c.out.events[:0], requests), true
	return c
}

// write checks and writes every request of the commit, in order.
func (s *Store) write(c *commit) {
	defer func() { // see pebbleLog.Fatalf
		if f, ok := recover().(fatal); ok {
			s.fail(f)
			c.err = s.failed()
		}
	}()
	if c.err = s.failed(); c.err != nil {
		return
	}
	c.at = time.Unix(0, s.clock.stamp()).UTC()
	c.applied = s.next - 1
	for _, p := range c.calls {
		if p.block != nil {
			s.begin(c, p.block)
		}
		if p.forget {
			s.forget(c)
		}
		c.save = max(c.save, p.save)
		if c.save > 0 && c.batch == nil {
			c.batch = s.db.NewBatch()
		}
		if p.requests != nil && p.requests[0].Together && s.notTogether(p) {
			continue
		}
		for i := range p.requests {
			if i%prefetchBatch == 0 {
				prefetch(p.heads[i:min(i+prefetchBatch, len(p.heads))])
			}
			if p.heads[i].forgotten {
				var err error
				if p.heads[i], err = s.head(p.heads[i].stream()); err != nil {
					p.results[i].Err = err
					continue
				}
			}
			p.results[i] = s.writeRequest(c, &p.requests[i], p.heads[i])
			p.results[i].StreamNumber = p.heads[i].number
			if c.err != nil {
				s.fail(c.err)
				c.err = s.failed()
				return
			}
		}
	}
	s.flush(c)
	c.last = s.next - 1
}

// notTogether fills in the results of requests that are bound to each other, if one of them is to be refused.
func (s *Store) notTogether(p *pending) (refused bool) {
	for i := range p.requests {
		p.results[i] = eventstore.AppendResult{Err: eventstore.ErrNotTogether}
		if p.heads[i].forgotten {
			head, err := s.head(p.heads[i].stream())
			if err != nil {
				p.results[i].Err, refused = err, true
				continue
			}
			p.heads[i] = head
		}
		if r, h := &p.requests[i], p.heads[i]; !r.Expected.Holds(h.events) {
			p.results[i].Err = &eventstore.WrongExpectedRevision{Stream: h.stream(), Expected: r.Expected, Events: h.events}
			refused = true
		}
	}
	return refused
}

// imported is the time of an event from another store: its own time, but never before the time of an earlier event. The
// store's clock is not asked.
func (s *Store) imported(at time.Time) time.Time {
	s.lastImport = max(s.lastImport, at.UnixNano())
	s.clock.recorded(s.lastImport)
	return time.Unix(0, s.lastImport).UTC()
}

func (s *Store) writeRequest(c *commit, r *eventstore.AppendRequest, h *head) (result eventstore.AppendResult) {
	if r.Events[0].ID != uuid.Nil && h.events >= uint64(len(r.Events)) { // the store makes the ids of heartbeats, so they cannot be found again
		if earlier, ok := s.retried(c, r, h); ok || c.err != nil {
			return earlier
		}
	}
	if !r.Expected.Holds(h.events) {
		result.Err = &eventstore.WrongExpectedRevision{Stream: h.stream(), Expected: r.Expected, Events: h.events}
		return result
	}
	if !r.Other.IsAny() {
		other, err := s.otherOf(h)
		if err != nil {
			result.Err = err
			return result
		}
		other.used = s.idle.cycle // the next heartbeat needs it again
		if !r.Other.Holds(other.events) {
			result.Err = &eventstore.WrongExpectedRevision{Stream: other.stream(), Expected: r.Other, Events: other.events}
			return result
		}
	}
	if c.batch == nil {
		c.batch = s.db.NewBatch()
	}
	stream := r.Stream
	if !h.lifecycle || stream == "" { // the head has the whole name, or there is no other way to know it
		stream = h.stream()
	}
	for i := range r.Events {
		s.writeEvent(c, &r.Events[i], r.At, h, stream)
	}
	return eventstore.AppendResult{Position: h.last, Revision: eventstore.Revision(h.events - 1)}
}

func (s *Store) writeEvent(c *commit, data *eventstore.EventData, at time.Time, h *head, stream eventstore.StreamName) {
	c.out.events = append(c.out.events, eventstore.RecordedEvent{})
	e := &c.out.events[len(c.out.events)-1]
	e.EventData, e.Stream = *data, stream
	e.Revision, e.Position, e.Timeline, e.RecordedAt = eventstore.Revision(h.events), s.next, s.timelines.Name, c.at
	if !at.IsZero() { // it comes from another store
		e.RecordedAt = s.imported(at)
	}
	s.next++
	if e.RecordedAt.UnixNano()-s.lastIndexed >= int64(time.Second) {
		s.lastIndexed = e.RecordedAt.UnixNano()
		c.writeBlock() // INVARIANT: a position in the time index begins a block
		c.set(timeKey(e.RecordedAt), binary.BigEndian.AppendUint64(nil, uint64(e.Position)))
	}
	if h.heartbeats {
		s.writeHeartbeat(c, e, h)
	} else {
		s.writeLifecycle(c, e)
	}
	h.events, h.last, h.used = h.events+1, e.Position, s.idle.cycle
}

func (s *Store) writeLifecycle(c *commit, e *eventstore.RecordedEvent) {
	c.out.onlyHeartbeats = false
	switch {
	case e.ID != uuid.Nil:
	case c.replicated != nil:
		e.ID = c.replicated.seededID(e.Position)
	default:
		e.ID = uuid.Must(uuid.NewV7()) // fails only if the system gives no random numbers
	}
	c.scratch = appendRecord(c.scratch[:0], e)
	c.key = appendKey64(c.key[:0], rangeLifecycle, uint64(e.Position))
	c.set(c.key, c.scratch)
	c.key = appendStreamKey(c.key[:0], e.Stream, e.Revision)
	c.scratch = binary.BigEndian.AppendUint64(c.scratch[:0], uint64(e.Position))
	c.set(c.key, c.scratch)
}

func (s *Store) writeHeartbeat(c *commit, e *eventstore.RecordedEvent, h *head) {
	if h.number == 0 {
		h.number = s.nextNumber
		s.nextNumber++
		c.set(numberKey(e.Stream), binary.BigEndian.AppendUint32(nil, h.number))
		c.set(number32(rangeName, h.number), []byte(e.Stream))
		s.numbers.set(h.number, h)
	}
	e.StreamNumber = h.number
	ownID := e.ID != uuid.Nil
	if !ownID {
		e.ID = s.derivedID(e.Position, e.RecordedAt)
	}
	if c.block.count > 0 && !c.block.at.Equal(e.RecordedAt) {
		c.writeBlock()
	}
	c.block.add(e, h.number, h.last, ownID)
	c.heartbeatHeads = append(c.heartbeatHeads, h)
	s.unsaved.add(h, e.Position)
	if c.block.full() {
		c.writeBlock()
	}
}

func (c *commit) writeBlock() {
	if c.block.count == 0 {
		return
	}
	c.scratch = c.block.encode(c.scratch[:0])
	c.set(blockKey(c.block.first), c.scratch)
	c.block.reset()
}

func (c *commit) set(key, value []byte) {
	if err := c.batch.Set(key, value, nil); err != nil {
		c.err = err
	}
}

// flush applies the batch to Pebble, which makes it readable. answerCommits waits for the sync.
func (s *Store) flush(c *commit) {
	if c.batch == nil {
		return
	}
	c.writeBlock()
	if len(c.heartbeatHeads) > 0 || c.save > 0 {
		s.saveHeads(c)
	}
	if c.handed.IsZero() {
		c.handed = time.Now()
	}
	if err := s.apply(c); err != nil {
		s.fail(err)
		c.err = s.failed()
		return
	}
	for _, h := range c.heartbeatHeads {
		h.readable.Store(uint64(h.last))
	}
	c.batches = append(c.batches, c.batch)
	c.batch, c.heartbeatHeads, c.applied = nil, c.heartbeatHeads[:0], s.next-1
}

// apply has Pebble write the batch. answerCommits waits for the sync, which a replica leaves to its log.
func (s *Store) apply(c *commit) error {
	if !s.opts.Replica {
		return s.db.ApplyNoSyncWait(c.batch, pebble.Sync)
	}
	return s.db.Apply(c.batch, pebble.NoSync)
}

// begin has the commit carry out a block. REQUIRES: the commit has no other block.
//
// INVARIANT: the commit of a block has one batch, with the block's mark in it.
func (s *Store) begin(c *commit, b *Block) {
	if c.batch == nil {
		c.batch = s.db.NewBatch()
	}
	c.replicated, c.at = b, time.Unix(0, b.At).UTC()
	s.clock.heard(b.At)
	c.set(keyMark, b.Mark)
	c.note(b.Notes)
	s.mark = b.Mark
}

// retried finds the events of a request that was appended before, by their ids, and gives the result of that append.
// REQUIRES: the stream has at least as many events as the request.
func (s *Store) retried(c *commit, r *eventstore.AppendRequest, h *head) (result eventstore.AppendResult, ok bool) {
	n := uint64(len(r.Events))
	first := h.events - n // their first revision, if they are the newest events
	if r.Expected.IsNoStream() {
		first = 0
	} else if exact, isExact := r.Expected.Exact(); isExact {
		if first = uint64(exact) + 1; first+n > h.events {
			return result, false
		}
	}
	if h.last > c.applied && c.replicated == nil { // they may be in the batch that is being filled, which cannot be read yet
		if s.flush(c); c.err != nil {
			return result, false
		}
	}
	i := 0
	opts := eventstore.ReadOptions{From: eventstore.Revision(first), Limit: len(r.Events)}
	for e, err := range s.readStream(h.stream(), opts, c.applied) {
		if err != nil {
			c.err = fmt.Errorf("look for a retried append: %w", err)
			return result, false
		}
		if uint64(e.Revision) != first+uint64(i) || e.ID != r.Events[i].ID {
			return result, false
		}
		result.Position, result.Revision = e.Position, e.Revision
		i++
	}
	if i < len(r.Events) && h.last > c.applied {
		return c.retriedUnread(h, r, first+uint64(i), i)
	}
	return result, i == len(r.Events)
}

// answerCommits waits for each commit to be durable, publishes its events and answers its calls, in the order of the
// commits. It ends when the committer has closed Store.commits.
//
// INVARIANT: durable is raised first, then the events are published, then the calls are answered. So a caller that was
// answered finds its events in every read, and a subscriber is given no event that is not durable. After a failed sync
// no commit is published any more.
func (s *Store) answerCommits() {
	defer close(s.stopped)
	for c := range s.commits {
		for _, b := range c.batches {
			if s.opts.Replica {
				break
			}
			if err := b.SyncWait(); err != nil {
				s.fail(err)
			}
		}
		if err := s.failed(); err != nil {
			c.err = err
		} else {
			for _, b := range c.batches {
				_ = b.Close() // only frees memory
			}
			s.publish(c)
		}
		for _, p := range c.calls {
			p.err = c.err
			p.done <- struct{}{}
		}
	}
}

func (s *Store) publish(c *commit) {
	events := len(c.out.events)
	if events == 0 {
		return
	}
	s.durable.Store(uint64(c.last))
	s.hub.publish(c.out)
	if s.opts.OnCommit != nil {
		requests := 0
		for _, p := range c.calls {
			requests += len(p.requests)
		}
		now := time.Now()
		s.opts.OnCommit(Commit{Requests: requests, Events: events, Sync: now.Sub(c.handed), Append: now.Sub(c.calls[0].queued)})
	}
}
