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

// Holds says whether a stream of so many events meets the precondition.
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

// Unchanged is the precondition that a stream of so many events still has as many.
func Unchanged(events uint64) ExpectedRevision {
	if events == 0 {
		return NoStream()
	}
	return Exactly(Revision(events - 1))
}

// WrongExpectedRevision refuses an append whose precondition did not hold.
type WrongExpectedRevision struct {
	Stream   StreamName // the one that the precondition was on: the append's own, or the one that it is tied to
	Expected ExpectedRevision
	Events   uint64 // how many events the stream has; its revision is one less
}

func (e *WrongExpectedRevision) Error() string {
	return fmt.Sprintf("stream %s: expected %s, but it has %d events", e.Stream, e.Expected, e.Events)
}

var (
	// ErrClosed is the answer of a store that was closed.
	ErrClosed = errors.New("event store is closed")
	// ErrReadOnly is the answer to an append after a write to disk failed. It is final until the
	// process starts again: what a failed fsync left on disk cannot be known (see ADR 004).
	ErrReadOnly = errors.New("event store takes no more appends: a write to disk failed")
	// ErrUnavailable is the answer while the event store cannot be reached. The outcome of an append
	// that was under way is unknown; with the same event ids it may be sent again.
	ErrUnavailable = errors.New("event store cannot be reached")
	// ErrRefused is the answer of an event store that will not carry out a request, however often it is asked.
	ErrRefused = errors.New("event store refuses the request")
	// ErrAccessDenied is the answer of an event store that does not let this node in.
	ErrAccessDenied = errors.New("event store denies access")
	// ErrDiskFull refuses an append while the disk has too little room left. Nothing was written; it may
	// be sent again once there is room.
	ErrDiskFull = errors.New("event store takes no appends: the disk is nearly full")
	// ErrTooLarge refuses an append of more bytes than one commit may hold.
	ErrTooLarge = errors.New("append is larger than one commit may be")
	// ErrNoStreamNumber refuses a request by a number that the store did not give since it was opened.
	ErrNoStreamNumber = errors.New("no stream has this number")
	// ErrNoOtherStream refuses a request that is tied to another stream, of a stream that has none.
	ErrNoOtherStream = errors.New("only streams of instances can be tied to another")
	// ErrNoEvents refuses a request without events.
	ErrNoEvents = errors.New("append without events")
)
