package commands

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Keyed is the key under which a request is carried out once, and what tells the request from others (ADR 088). It is for
// changes of webhooks, tokens, roles, policies and self-preservation, and for reverts; commands to instances have Request.Once.
//
// INVARIANT: as with Request.Once, an attempt that is still under way cannot append a second time: its event is appended at the
// revision on which it was decided.
type Keyed struct {
	Key     string // a UUID
	Request [sha256.Size]byte
}

// keyedID is the id of the nth event that a caller's request appends to a stream. Its first half says which key, caller and
// stream it is of, its second half which request.
func (c *Caller) keyedID(stream eventstore.StreamName, n int) (id uuid.UUID) {
	first := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", c.Actor, c.Keyed.Key, stream))
	second := sha256.Sum256(fmt.Appendf(nil, "%d %x", n, c.Keyed.Request))
	copy(id[:], first[:onceHalf])
	copy(id[onceHalf:], second[:])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8 of RFC 9562
	return id
}

// sentBefore gives the last event that a caller's request appended to a stream when it was sent before; at position 0: it
// was not, or has no key. A key that came with another request is refused.
func (c *Caller) sentBefore(ctx context.Context, store eventstore.Store, stream eventstore.StreamName) (last eventstore.RecordedEvent, err error) {
	if c.Keyed == nil {
		return last, nil
	}
	first := c.keyedID(stream, 0)
	last, count, err := eventsOfKey(ctx, store, stream, [onceHalf]byte(first[:onceHalf]))
	if err != nil {
		return last, err
	}
	if count > 0 && last.ID != c.keyedID(stream, count-1) {
		return eventstore.RecordedEvent{}, otherRequest
	}
	return last, nil
}

var otherRequest = domain.InvalidField{Field: "Idempotency-Key", Rule: "must be another one: it came with another command before"}
