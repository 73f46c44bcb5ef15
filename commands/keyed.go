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

// event makes the event data of the nth event that the request of a caller appends to a stream.
func (c *Caller) event(stream eventstore.StreamName, n int, e domain.Event) (eventstore.EventData, error) {
	data, err := domain.Encode(e)
	made := eventstore.EventData{Type: e.EventType(), Data: data, Metadata: c.metadata(false)}
	if c.Keyed != nil {
		made.ID = c.keyedID(stream, n)
	}
	return made, err
}

// unkeyed is the caller for events of which a request may append several to one stream, each by itself: the ids that follow from its key
// would be the same.
func (c Caller) unkeyed() Caller {
	c.Keyed = nil
	return c
}

// KeyText says which request of a caller it is. REQUIRES: it has a key.
func (c *Caller) KeyText() string {
	return fmt.Sprintf("%q %q %x", c.Actor, c.Keyed.Key, c.Keyed.Request)
}

// keyedID is the id of the nth event that a caller's request appends to a stream. Its first half says which key, caller and
// stream it is of, its second half which request.
func (c *Caller) keyedID(stream eventstore.StreamName, n int) (id uuid.UUID) {
	first := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", c.Actor, c.Keyed.Key, stream))
	second := sha256.Sum256(fmt.Appendf(nil, "%d %x", n, c.Keyed.Request))
	copy(id[:], first[:onceHalf])
	copy(id[onceHalf:], second[:])
	return version8(id)
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
