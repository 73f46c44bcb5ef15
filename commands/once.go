package commands

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A command with a key (Request.Once) is carried out once, however often and at whatever node it is sent: its events have ids
// that follow from the key. Before the command is decided, the newest events of its instance are searched for these ids. If
// the events are there, the command is answered with the outcome that it had.
//
// INVARIANT: an attempt that is still under way somewhere cannot append a second time. Events are appended at the revision
// on which they were decided, so whichever attempt comes later is refused by the store, or is a retry by its ids, and then
// the search finds the events.
//
// A heartbeat and a report that a check goes on as before take no key: they do no harm twice.

// onceWithin is how many of the newest events of an instance are searched for those of a key.
const onceWithin = 128

// onceHalf is the length in bytes of the part of an id that says which key, caller and instance the event is of. The rest
// says which command it is of, so that a key that comes again with another command is noticed.
const onceHalf = 8

// onceIDs makes the ids of the events of a task.
type onceIDs struct {
	first   [onceHalf]byte
	command []byte
}

func onceOf(caller *Caller, t *task) (ids onceIDs) {
	key := t.Command.Instance()
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", caller.Actor, t.Once, key.String()))
	copy(ids.first[:], sum[:])
	ids.first[6] = ids.first[6]&0x0f | 0x80 // as version8
	command, err := json.Marshal(t.Command)
	if err != nil {
		panic(fmt.Sprintf("commands: a command of ours cannot be encoded: %v", err))
	}
	ids.command = fmt.Appendf(command, " %T %t", t.Command, t.IfLive)
	if t.IfMatch != nil {
		ids.command = fmt.Appendf(ids.command, " %d", *t.IfMatch)
	}
	return ids
}

// at is the id of the nth event.
func (o *onceIDs) at(n int) (id uuid.UUID) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", n, o.command))
	copy(id[:], o.first[:])
	copy(id[onceHalf:], sum[:])
	return version8(id)
}

// OnceID is the id of an instance that a command with a key names none for. It is the same for each attempt.
func OnceID(caller Caller, once string) uuid.UUID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", caller.Actor, once))
	return version8(uuid.UUID(sum[:16]))
}

// version8 marks an id as one of version 8 of RFC 9562: what the other bits mean is ours.
func version8(id uuid.UUID) uuid.UUID {
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// sentBefore gives a task that was carried out before the outcome that it had. done says so, also where that cannot be found out.
func (s *Service) sentBefore(ctx context.Context, caller *Caller, t *task) (done bool, err error) {
	if t.Once == "" {
		return false, nil
	}
	return s.findOnce(ctx, caller, t)
}

// findOnce is sentBefore of a task with a key. It is a function of its own because its variables are on the heap.
func (s *Service) findOnce(ctx context.Context, caller *Caller, t *task) (done bool, err error) {
	ids := onceOf(caller, t)
	stream := eventstore.LifecycleStream(t.Command.Instance())
	last, count, err := eventsOfKey(ctx, s.store, stream, ids.first)
	if err != nil {
		return true, err
	}
	switch {
	case count == 0:
		return false, nil
	case last.ID != ids.at(count-1):
		return true, otherRequest
	}
	return true, s.recall(ctx, t, last, count)
}

// eventsOfKey finds the newest events of a key in a stream: the last one, and how many there are. Their ids begin alike.
func eventsOfKey(ctx context.Context, store eventstore.Store, stream eventstore.StreamName, begin [onceHalf]byte) (last eventstore.RecordedEvent, count int, err error) {
	for e, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: onceWithin}) {
		if err != nil {
			return last, 0, err
		}
		of := [onceHalf]byte(e.ID[:onceHalf]) == begin
		if count > 0 && !of {
			break
		}
		if of {
			if count == 0 {
				last = e
			}
			count++
		}
	}
	return last, count, nil
}

// recall fills in the outcome of a task whose events, count of them, end with one.
func (s *Service) recall(ctx context.Context, t *task, last eventstore.RecordedEvent, count int) error {
	state := domain.Instance{Key: t.Command.Instance()}
	t.Result = Result{Position: last.Position, Revision: uint64(last.Revision)}
	for e, err := range s.store.ReadStream(ctx, last.Stream, eventstore.ReadOptions{Limit: int(last.Revision) + 1}) {
		if err != nil {
			return err
		}
		state, _ = eventstore.Evolve(state, &e)
		if uint64(e.Revision)+uint64(count) <= uint64(last.Revision) {
			continue
		}
		switch e.Type {
		case domain.TypeInstanceRegistered:
			t.Created, t.Outcome = true, RegistrationCreated
		case domain.TypeInstanceUpdated:
			t.Outcome = RegistrationUpdated
		}
	}
	t.Epoch = state.Epoch
	return nil
}
