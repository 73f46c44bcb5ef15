package pebblestore

import (
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// changes says of a lifecycle stream that it surely had no append since a position. So a heartbeat whose instance was looked
// up at a position (AppendRequest.Seen) needs no head of the lifecycle stream (ADR 107).
//
// Several streams share a place, which has the newest append to any of them. Where that is after the position, the head tells.
type changes struct {
	from   eventstore.Position // of the newest event when the store was opened: of what was before, nothing is known
	places [1 << 14]atomic.Uint64
}

// note notes an append to a lifecycle stream. hash is that of the instance's heartbeat stream, see heads.shard.
func (c *changes) note(hash uint32, at eventstore.Position) {
	c.places[hash%uint32(len(c.places))].Store(uint64(at))
}

// none says that the stream surely had no append after a position.
func (c *changes) none(hash uint32, since eventstore.Position) bool {
	return since >= c.from && c.places[hash%uint32(len(c.places))].Load() <= uint64(since)
}

// seen says that the tie of a request for a heartbeat stream holds, because the caller has seen that it did, and the other stream
// has not changed since. In a replica that would depend on more than the block.
func (s *Store) seen(r *eventstore.AppendRequest, h *head) bool {
	return r.Seen != 0 && h.heartbeats && !s.opts.Replica && s.changes.none(h.hash, r.Seen)
}
