package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A replica is a store whose appends come from a log that several nodes share (adapters/raftstore). The log is the durable
// copy, so the blocks of the log are written without a sync. After a crash the store is at an earlier block than before, and
// the log has the blocks that follow.
//
// INVARIANT: what a block changes depends on the block and on the events before it, and on nothing else: no clock, no
// random number, no limit, no order of a map. So the replicas of all nodes have the same events, with the same positions,
// revisions, times and ids.

// ErrReplica refuses to open a store with a mark as a store of its own: events that are not in the log would part it from
// the other nodes.
var ErrReplica = errors.New("the store belongs to a cluster")

// Block is a part of the log that a replica carries out as one: after a crash the store has all of it or nothing.
type Block struct {
	// At is the time at which the events are recorded, Unix nanoseconds. REQUIRES: it never decreases from block to block.
	At int64
	// Seed makes the ids of lifecycle events that have none. It should differ from block to block.
	Seed     uint64
	Requests []eventstore.AppendRequest // none of them has a time of its own (At)
	// TrimBefore removes the heartbeats at lower positions. REQUIRES: the position is in the time index, see Trimmable.
	TrimBefore eventstore.Position
	Notes      []Note // to be kept, or removed
	// Mark says where in the log the store is after the block. The store keeps the newest mark.
	Mark []byte
}

// Apply carries out blocks, in order, and appends the results of their requests to into. The blocks become few commits, so
// that blocks that are there together cost little more than one. An error means that the store can carry out no further
// block. REQUIRES: the store is a replica, and one goroutine calls Apply.
//
// Apply is a committer of its own: no other goroutine has a part in it, and nothing is waited for but the engine.
func (s *Store) Apply(into []eventstore.AppendResult, blocks ...*Block) ([]eventstore.AppendResult, error) {
	requests := 0
	for _, b := range blocks {
		requests += len(b.Requests)
	}
	into = append(into, make([]eventstore.AppendResult, requests)...)
	results := into[len(into)-requests:]
	for len(blocks) > 0 {
		if err := s.failed(); err != nil {
			return into, err
		}
		if uint64(blocks[0].TrimBefore) > s.trimmed.Load() {
			if err := s.trimBefore(blocks[0]); err != nil {
				s.fail(err)
				return into, s.failed()
			}
		}
		done, err := s.commitBlocks(blocks, results)
		if err != nil {
			return into, err
		}
		for _, b := range blocks[:done] {
			results = results[len(b.Requests):]
		}
		blocks = blocks[done:]
	}
	return into, nil
}

// commitBlocks carries out the first blocks, as many as fit into one commit, and says how many. The results are those of all
// blocks.
func (s *Store) commitBlocks(blocks []*Block, results []eventstore.AppendResult) (done int, err error) {
	s.intake.RLock() // Close waits
	defer s.intake.RUnlock()
	if s.refusing {
		return 0, eventstore.ErrClosed
	}
	c := &s.applying
	c.begin(publications.Get().(*published))
	for _, b := range blocks {
		if done > 0 && b.TrimBefore > 0 {
			break
		}
		p := c.pending(done)
		p.block, p.requests, p.results = b, b.Requests, results[:len(b.Requests)]
		results = results[len(b.Requests):]
		if err := s.prepare(p); err != nil && !errors.Is(err, eventstore.ErrTooLarge) { // the size was decided on before the block went into the log
			if done > 0 { // the block may need what those before it have not written yet: the number of a stream
				break
			}
			return 0, err
		}
		if done > 0 && c.bytes+p.bytes > maxCommitBytes {
			break
		}
		c.calls, c.bytes, c.written = append(c.calls, p), c.bytes+p.bytes, c.written+p.written
		done++
	}
	s.writing.Lock()
	s.write(&c.commit)
	s.writing.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	for _, b := range c.batches {
		_ = b.Close() // only frees memory
	}
	s.publish(&c.commit)
	return done, nil
}

// applying is the commit of Apply. Its memory is used again from commit to commit.
type applying struct {
	commit
	pendings []*pending
}

// begin makes the commit an empty one.
func (a *applying) begin(out *published) {
	out.events, out.onlyHeartbeats = out.events[:0], true
	a.commit = commit{calls: a.calls[:0], batches: a.batches[:0], out: out, buffers: a.buffers}
}

// pending is the nth pending of the commit.
func (a *applying) pending(n int) *pending {
	if n == len(a.pendings) {
		a.pendings = append(a.pendings, new(pending))
	}
	p := a.pendings[n]
	*p = pending{heads: p.heads[:0], queued: time.Now()}
	return p
}

// Check gives the error for which Apply could not carry out requests: they are not well-formed, or name a stream by a number
// that the store does not know.
func (s *Store) Check(requests []eventstore.AppendRequest) error {
	for i := range requests {
		if !requests[i].At.IsZero() {
			return eventstore.ErrRefused
		}
	}
	return s.prepare(&pending{requests: requests})
}

// Mark is the mark of the newest block that the store has carried out; nil: there is none. REQUIRES: no Apply is under way.
func (s *Store) Mark() []byte { return bytes.Clone(s.mark) }

// Sync makes all blocks durable that were carried out before.
func (s *Store) Sync() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.failed(); err != nil {
		return err
	}
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		s.fail(err)
		return s.failed()
	}
	return nil
}

// Stamp gives the time for a block that begins now, Unix nanoseconds. It is never before an earlier one.
func (s *Store) Stamp() int64 { return s.clock.stamp() }

// Full says whether the disk has too little free space for more appends.
func (s *Store) Full() bool { return s.full.Load() }

// Trimmable is the position before which heartbeats were recorded longer ago than keep; 0: none can be removed. A block with
// this position as TrimBefore removes them.
func (s *Store) Trimmable(keep time.Duration) (eventstore.Position, error) {
	before, err := s.retained(keep)
	if err != nil {
		return 0, err
	}
	upTo, err := s.indexedBefore(before)
	if err != nil || uint64(upTo) <= s.trimmed.Load() {
		return 0, err
	}
	return upTo, nil
}

// trimBefore removes heartbeats. A crash before the block's mark is written has the block carried out again.
func (s *Store) trimBefore(b *Block) error {
	if err := s.saveHeadsBefore(b.TrimBefore); err != nil {
		return err
	}
	return s.deleteHeartbeats(b.TrimBefore, pebble.NoSync)
}

// loadMark reads the mark. A replica goes on behind it. Options.Alone takes a store out of its cluster.
func (s *Store) loadMark() (err error) {
	if s.mark, err = s.get(keyMark); err != nil || s.mark == nil || s.opts.Replica || s.opts.ReadOnly {
		return err
	}
	if !s.opts.Alone {
		return ErrReplica
	}
	s.mark = nil
	return s.db.Delete(keyMark, pebble.Sync)
}

// retriedUnread looks for a request's remaining events among those of the commit that is being filled, which cannot be read
// yet. from is the revision of the first of them. See retried.
func (c *commit) retriedUnread(h *head, r *eventstore.AppendRequest, from uint64, found int) (result eventstore.AppendResult, ok bool) {
	first := slices.IndexFunc(c.out.events, func(e eventstore.RecordedEvent) bool {
		return h.Is(e.Stream) && uint64(e.Revision) == from
	})
	if first < 0 {
		return result, false
	}
	for i := first; i < len(c.out.events) && found < len(r.Events); i++ {
		e := &c.out.events[i]
		if !h.Is(e.Stream) {
			continue
		}
		if e.ID != r.Events[found].ID {
			return result, false
		}
		result.Position, result.Revision = e.Position, e.Revision
		found++
	}
	return result, found == len(r.Events)
}

// seededID makes the id of a lifecycle event of a block that was appended without an id: a UUIDv7 (RFC 9562).
func (b *Block) seededID(p eventstore.Position) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[8:], mix(b.Seed^mix(uint64(p))))
	ms := uint64(b.At) / uint64(time.Millisecond)
	binary.BigEndian.PutUint64(id[:8], ms<<16|0x7000|mix(b.Seed+uint64(p))&0x0fff)
	id[8] = id[8]&0x3f | 0x80
	return id
}
