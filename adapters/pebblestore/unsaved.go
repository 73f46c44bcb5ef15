package pebblestore

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// How late heads may be written (ADR 016). The blocks of heartbeats hold all that a head says, so a head is written once
// for several heartbeats. After a crash, the heads that were not written are computed from the blocks.
const (
	savePerHeartbeats = 64        // a commit writes one head for this many of its heartbeats
	saveAtLeast       = 2         // heads that a commit with heartbeats writes at least, so that the queue shrinks
	maxUnwritten      = 1_000_000 // positions that a start may have to read; heads that are further behind are written at once
)

// unsaved is a queue of the heads that are behind on disk, in the order in which they fell behind. Only the committer
// uses it.
type unsaved struct {
	queue []behind
	first int // index of the first in the queue that is not written yet
}

type behind struct {
	since  eventstore.Position // of the oldest heartbeat that is not in the head on disk
	number uint32              // of the stream
}

// add notes that a heartbeat was appended to the stream at a position.
func (u *unsaved) add(h *head, p eventstore.Position) {
	if !h.queued {
		h.queued = true
		u.queue = append(u.queue, behind{p, h.number})
	}
}

// saveHeads writes the heads that are due after the commit's heartbeats, and the heads that a call asks for, into the
// commit's batch.
func (s *Store) saveHeads(c *commit) {
	u := &s.unsaved
	due := max(len(c.heartbeatHeads)/savePerHeartbeats, saveAtLeast)
	until := max(c.save, s.next-min(s.next, maxUnwritten))
	for ; u.first < len(u.queue) && (due > 0 || u.queue[u.first].since < until); due-- {
		number := u.queue[u.first].number
		u.first++
		events, last := s.numbers.unqueue(number)
		c.scratch = binary.AppendUvarint(c.scratch[:0], events)
		c.scratch = binary.AppendUvarint(c.scratch, uint64(last))
		c.key = appendNumber32(c.key[:0], rangeHead, number)
		c.set(c.key, c.scratch)
	}
	saved := s.next - 1
	if u.first < len(u.queue) {
		saved = u.queue[u.first].since - 1
	}
	if u.first > len(u.queue)/2 { // the places of the written heads are used again
		u.queue = u.queue[:copy(u.queue, u.queue[u.first:])]
		u.first = 0
		if cap(u.queue) > 4096 && len(u.queue) < cap(u.queue)/16 {
			u.queue = slices.Clone(u.queue)
		}
	}
	c.scratch = binary.BigEndian.AppendUint64(c.scratch[:0], uint64(saved))
	c.set(keyHeads, c.scratch)
}

// recoverHeads computes the heads that were not written before the process ended, from the blocks of heartbeats.
func (s *Store) recoverHeads() error {
	saved, err := s.get(keyHeads)
	if err != nil || saved == nil { // an earlier format, which wrote all heads at once
		return err
	}
	upTo := eventstore.Position(binary.BigEndian.Uint64(saved))
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeHeartbeats, '/'}, UpperBound: after(rangeHeartbeats)})
	if err != nil {
		return err
	}
	defer it.Close()
	// The block that holds the first unsaved heartbeat may begin before it.
	found := it.SeekLT(blockKey(upTo + 1))
	if !found {
		found = it.First()
	}
	var entries []heartbeat
	for ; found; found = it.Next() {
		first := eventstore.Position(tail(it.Key()))
		if entries, err = s.blockAt(it, first, entries); err != nil {
			if s.opts.Replica { // the other replicas give other revisions
				return &Damaged{first, err}
			}
			s.opts.Logger.Error("heartbeats are damaged; their streams' revisions may be given again", "position", first, "cause", err)
			continue
		}
		for i := range entries {
			if e := &entries[i]; e.event.Position > upTo {
				if err := s.recoverHead(e); err != nil {
					return err
				}
			}
		}
	}
	return it.Error()
}

// recoverHead has the head of a heartbeat's stream include the heartbeat. REQUIRES: heartbeats come in order.
func (s *Store) recoverHead(e *heartbeat) error {
	h := &head{number: e.event.StreamNumber, events: uint64(e.event.Revision) + 1, last: e.event.Position, queued: true}
	if h.mayBeQuiet() {
		if known := s.numbers.recovered(h); !known {
			s.unsaved.queue = append(s.unsaved.queue, behind{h.last, h.number})
		}
		return nil
	}
	stream, err := s.streamOf(e.event.StreamNumber)
	if err != nil {
		return err
	}
	h, err = s.headOf(stream, "", h.number)
	if err != nil {
		return err
	}
	h.events, h.last = uint64(e.event.Revision)+1, e.event.Position
	h.readable.Store(uint64(h.last))
	s.unsaved.add(h, e.event.Position)
	return nil
}
