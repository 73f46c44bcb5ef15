package pebblestore

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// write checks and writes every request of the commit, in order.
func (s *Store) write(c *commit) {
	defer func() {
		if fault, locked := engineFault(recover()); fault != nil {
			s.gaveUp = locked
			s.fail(fault)
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
		if p.forget > 0 {
			s.forget(c, p)
		}
		if p.rotate {
			var err error
			if p.rotated, err = s.db.AsyncFlush(); err != nil {
				s.fail(err)
				c.err = s.failed()
				return
			}
		}
		c.save = max(c.save, p.save)
		if c.save > 0 && c.batch == nil {
			c.batch = s.newBatch(c)
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
	if c.replicated != nil {
		c.set(keyMark, c.replicated.Mark)
		s.mark = c.replicated.Mark
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
	if !r.Other.IsAny() && !s.seen(r, h) {
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
		c.batch = s.newBatch(c)
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
		if h.lifecycle {
			_, hash := s.heads.shard(eventstore.StreamName(h.name)) // of the instance's heartbeat stream, whose name both heads have
			s.changes.note(hash, e.Position)
		}
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
		e.ID = s.ids.next(c.at)
	}
	c.records.add(e)
	c.indexed = append(c.indexed, indexed{e.Stream, e.Revision, place{e.Position, c.records.first}})
	if c.records.full() {
		c.writeRecords()
	}
}

func (c *commit) writeRecords() {
	if len(c.records.value) == 0 {
		return
	}
	c.key = appendKey64(c.key[:0], rangeLifecycle, uint64(c.records.first))
	c.set(c.key, c.records.value)
	c.records.reset()
}

// writeIndex writes the index of the streams for the lifecycle events of the batch. The engine's memory takes keys in order several
// times as fast as others, so those of the index come together and in order, and not each behind its event.
func (c *commit) writeIndex() {
	slices.SortFunc(c.indexed, func(a, b indexed) int { return strings.Compare(string(a.stream), string(b.stream)) })
	for _, i := range c.indexed {
		c.key = appendStreamKey(c.key[:0], i.stream, i.revision)
		c.scratch = i.place.append(c.scratch[:0])
		c.set(c.key, c.scratch)
	}
	c.forgetIndexed()
}

func (c *commit) forgetIndexed() {
	clear(c.indexed) // the names
	c.indexed = c.indexed[:0]
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
