package eventstore

import (
	"errors"
	"fmt"
)

// ExpectedRevision is an append's precondition on its stream. The zero value is Any.
type ExpectedRevision struct {
	kind     expectedKind
	revision Revision
}

type expectedKind uint8

const (
	anyRevision expectedKind = iota
	noStream
	streamExists
	exactly
)

// Any appends whatever the stream holds.
func Any() ExpectedRevision { return ExpectedRevision{} }

// NoStream appends only if the stream has no event yet.
func NoStream() ExpectedRevision { return ExpectedRevision{kind: noStream} }

// StreamExists appends only if the stream has an event.
func StreamExists() ExpectedRevision { return ExpectedRevision{kind: streamExists} }

// Exactly appends only if the stream's newest event has this revision.
func Exactly(r Revision) ExpectedRevision { return ExpectedRevision{kind: exactly, revision: r} }

// Exact is the revision that Exactly was given; ok is false for every other precondition.
func (e ExpectedRevision) Exact() (r Revision, ok bool) { return e.revision, e.kind == exactly }

// IsAny says whether the precondition is Any, which always holds.
func (e ExpectedRevision) IsAny() bool { return e.kind == anyRevision }

// IsNoStream says whether the precondition is NoStream.
func (e ExpectedRevision) IsNoStream() bool { return e.kind == noStream }

// Holds says whether a stream with this number of events meets the precondition.
func (e ExpectedRevision) Holds(events uint64) bool {
	switch e.kind {
	case noStream:
		return events == 0
	case streamExists:
		return events > 0
	case exactly:
		return events == uint64(e.revision)+1
	}
	return true
}

func (e ExpectedRevision) String() string {
	switch e.kind {
	case noStream:
		return "no stream"
	case streamExists:
		return "stream exists"
	case exactly:
		return fmt.Sprintf("revision %d", e.revision)
	}
	return "any"
}

// Unchanged is the precondition that a stream still has this number of events.
func Unchanged(events uint64) ExpectedRevision {
	if events == 0 {
		return NoStream()
	}
	return Exactly(Revision(events - 1))
}

// WrongExpectedRevision refuses an append whose precondition did not hold.
type WrongExpectedRevision struct {
	Stream   StreamName // the stream of the precondition: the request's own stream, or the stream to which it is tied
	Expected ExpectedRevision
	Events   uint64 // number of events in the stream; its revision is this number less one
}

func (e *WrongExpectedRevision) Error() string {
	return fmt.Sprintf("stream %s: expected %s, but it has %d events", e.Stream, e.Expected, e.Events)
}

var (
	// ErrClosed refuses a call to a store that is closed.
	ErrClosed = errors.New("event store is closed")
	// ErrReadOnly refuses an append after a write to disk failed, or after a node of a cluster has stopped. It is final until the
	// process starts again: after a failed fsync nobody knows what is on disk (ADR 004).
	ErrReadOnly = errors.New("event store takes no more appends")
	// ErrUnavailable says that the event store cannot be reached. The outcome of an append that was under way is unknown; the
	// append may be sent again with the same event ids.
	ErrUnavailable = errors.New("event store cannot be reached")
	// ErrNoLeader refuses an append because the nodes of the cluster have no leader: too few of them reach each other. It
	// comes with ErrUnavailable, and says more: nothing was written.
	ErrNoLeader = errors.New("the cluster has no leader, so nothing was written")
	// ErrOtherTerm refuses a request that was judged in another term than the present one. Nothing was written.
	ErrOtherTerm = errors.New("another term of the cluster has begun since the request was judged")
	// ErrRefused says that the event store refuses a request, and would refuse it again.
	ErrRefused = errors.New("event store refuses the request")
	// ErrAccessDenied says that the event store denies access to this node.
	ErrAccessDenied = errors.New("event store denies access")
	// ErrDiskFull refuses an append while the disk has too little free space. Nothing was written. The append may be sent
	// again once there is enough space.
	ErrDiskFull = errors.New("event store takes no appends: the disk is nearly full")
	// ErrTooLarge refuses an append of more bytes than one commit may hold.
	ErrTooLarge = errors.New("append is larger than one commit may be")
	// ErrNoStreamNumber refuses a request with a stream number that the store has not given since it was opened.
	ErrNoStreamNumber = errors.New("no stream has this number")
	// ErrNoOtherStream refuses a tied request to a stream that has no other stream.
	ErrNoOtherStream = errors.New("only streams of instances can be tied to another")
	// ErrNotTogether refuses a request because the precondition of another request to which it is bound did not hold.
	ErrNotTogether = errors.New("another request to which this one is bound was refused")
	// ErrNoEvents refuses a request without events.
	ErrNoEvents = errors.New("append without events")
)
