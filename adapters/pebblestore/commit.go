package pebblestore

import (
	"runtime"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// commit is one group commit: calls that are checked, written and synced as one.
//
// INVARIANT: the committer (commitAppends) owns a commit until it sends it to Store.commits; from then on answerCommits
// does. The buffers stay the committer's: it takes them back before it sends the commit, and uses them for the next one.
type commit struct {
	calls   []*pending
	bytes   int
	written int // see pending
	at      time.Time
	batches []*pebble.Batch     // applied to Pebble in this order; nearly always one
	out     *published          // the events; shared with subscribers, who must not change them, once they are published
	last    eventstore.Position // the newest position in the store when this commit is durable
	handed  time.Time           // when the first batch was handed to Pebble
	err     error

	replicated *Block              // which the requests that are being written belong to; nil: the store is no replica
	batch      *pebble.Batch       // is being filled; nil: there is nothing to write yet
	save       eventstore.Position // see pending
	applied    eventstore.Position // the newest position that is in batches, and so readable
	buffers
}

// buffers are what a commit writes with. Between two commits they hold nothing but memory.
type buffers struct {
	heartbeatHeads []*head   // of the streams of the heartbeats in batch
	indexed        []indexed // the lifecycle events in batch that the index of the streams lacks yet
	records        records
	block          *block
	key            []byte // for the key being written
	scratch        []byte // for the value being written
}

// commitAppends is the committer. INVARIANT: no other goroutine gives positions or moves heads. In a replica the goroutine that
// calls Apply does that, and the committer only forgets heads and has them written; Store.writing parts the two. It ends, and
// closes Store.commits, when the store closes and the queue is empty.
func (s *Store) commitAppends(spare buffers) {
	defer close(s.commits)
	for {
		c := s.gather()
		if c == nil {
			return
		}
		c.buffers = spare
		s.writing.Lock()
		s.write(c)
		s.writing.Unlock()
		spare = c.buffers
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
	c := &commit{calls: make([]*pending, 1, 1+len(s.queue)), bytes: first.bytes, written: first.written}
	c.calls[0] = first
	requests := len(first.requests)
	for more := true; more && c.bytes < maxCommitBytes; {
		select {
		case p := <-s.queue:
			c.calls = append(c.calls, p)
			c.bytes += p.bytes
			c.written += p.written
			requests += len(p.requests)
		default:
			more = false
		}
	}
	c.out = publications.Get().(*published)
	c.out.events, c.out.onlyHeartbeats = slices.Grow(c.out.events[:0], requests), true
	return c
}

// indexed is what the index of the streams says of a lifecycle event.
type indexed struct {
	stream   eventstore.StreamName
	revision eventstore.Revision
	place    place
}

// newBatch gives a batch that was used before, or a new one, which takes all that the calls of the commit append without growing: to grow it
// copies. A batch that is too small is left to the garbage collector, so those that are kept are as large as commits are. The
// engine's own pool has the small batches of other owners, too, and would give them to large commits.
func (s *Store) newBatch(c *commit) *pebble.Batch {
	if b, ok := s.batches.Get().(*pebble.Batch); ok && cap(b.Repr()) >= min(c.written, maxCommitBytes) {
		return b
	}
	return s.db.NewBatchWithSize(c.written, pebble.WithMaxRetainedSizeBytes(maxCommitBytes))
}

// flush applies the batch to Pebble, which makes it readable. answerCommits waits for the sync.
func (s *Store) flush(c *commit) {
	if c.batch == nil {
		return
	}
	c.writeRecords()
	c.writeBlock()
	if s.opts.Replica {
		c.writeIndex()
	} else {
		s.leaveUnindexed(c)
	}
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
	s.batched.Add(uint64(c.batch.Len()))
	if !s.opts.Replica {
		return s.db.ApplyNoSyncWait(c.batch, pebble.Sync)
	}
	return s.db.Apply(c.batch, pebble.NoSync)
}

// begin has the commit carry out a block.
//
// INVARIANT: a commit with blocks has one batch, with the mark of the last block in it.
func (s *Store) begin(c *commit, b *Block) {
	if c.batch == nil {
		c.batch = s.newBatch(c)
	}
	c.replicated, c.at = b, time.Unix(0, b.At).UTC()
	s.clock.heard(b.At)
	c.note(b.Notes)
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
				b.Reset()
				s.batches.Put(b)
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
	s.unindexed.durable(c.last)
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
