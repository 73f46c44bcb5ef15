package esdbstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// verdict says what to make of an answer that is not the one that was hoped for.
type verdict int

const (
	refused   verdict = iota // the database will not do this; the same request again would be refused again
	elsewhere                // the outcome is unknown, or nothing was done: look for the leader and ask again
	conflict                 // the precondition did not hold
	missing                  // the stream does not exist
	denied                   // this user may not
	tooLarge                 // the append has too many bytes
)

// verdicts is the one table of what every gRPC code means here. Where the database adds a word of its own, in
// the trailer "exception", exceptions goes before it.
var verdicts = map[codes.Code]verdict{
	codes.OK:                 elsewhere, // within a batch: the node was not ready, too busy or knew no leader
	codes.Canceled:           elsewhere, // the node ended the call, or the connection was given up
	codes.Unknown:            elsewhere, // "No leader info available", or a fault within the node
	codes.InvalidArgument:    refused,
	codes.DeadlineExceeded:   elsewhere,
	codes.NotFound:           refused,
	codes.AlreadyExists:      refused,
	codes.PermissionDenied:   denied,
	codes.ResourceExhausted:  tooLarge, // a message is longer than the node takes
	codes.FailedPrecondition: refused,
	codes.Aborted:            elsewhere, // "Operation timed out", of a write or of its way to the leader
	codes.OutOfRange:         refused,
	codes.Unimplemented:      refused, // an older database
	codes.Internal:           elsewhere,
	codes.Unavailable:        elsewhere, // not ready, too busy, or nobody listens
	codes.DataLoss:           refused,
	codes.Unauthenticated:    denied,
}

// exceptions is what the database's own words mean.
var exceptions = map[string]verdict{
	"not-leader":                   elsewhere,
	"wrong-expected-version":       conflict,
	"stream-not-found":             missing,
	"stream-deleted":               refused,
	"access-denied":                denied,
	"maximum-append-size-exceeded": tooLarge,
}

// answer is an error of the database's with its verdict.
type answer struct {
	verdict verdict
	leader  string // host:port of the leader, where the node named it
	events  uint64 // how many events the stream has, of a conflict
	err     error
}

func (a *answer) Error() string { return a.err.Error() }

// Unwrap gives the port's word for the answer beside the database's own.
func (a *answer) Unwrap() []error {
	word := map[verdict]error{
		refused: eventstore.ErrRefused, elsewhere: eventstore.ErrUnavailable, denied: eventstore.ErrAccessDenied, tooLarge: eventstore.ErrTooLarge,
	}[a.verdict]
	if word == nil {
		return []error{a.err}
	}
	return []error{word, a.err}
}

// silent says whether the answer, or its absence, leaves open that the node goes on believing that it leads: it
// was not heard, could not carry out a write in time, or another claims the lead as well.
func (a *answer) silent() bool {
	code := status.Code(a.err)
	return errors.Is(a.err, errNoAnswer) || errors.Is(a.err, errAnother) || errors.Is(a.err, errTimeout) || code == codes.Aborted || code == codes.DeadlineExceeded
}

var errTimeout = errors.New("the node could not carry out the append in time")

// judge tells what an error of a call means. The trailer is that of the call, where there is one.
func judge(err error, trailer metadata.MD) *answer {
	var known *answer
	if errors.As(err, &known) {
		return known
	}
	a := &answer{err: err, verdict: elsewhere}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return a
	}
	s, ok := status.FromError(err)
	if !ok { // no gRPC error: something failed on this side
		a.verdict = refused
		return a
	}
	a.verdict = verdicts[s.Code()]
	if words := trailer.Get("exception"); len(words) > 0 {
		if v, ok := exceptions[words[0]]; ok {
			a.verdict = v
		}
		host, port := trailer.Get("leader-endpoint-host"), trailer.Get("leader-endpoint-port")
		if len(host) > 0 && len(port) > 0 {
			a.leader = net.JoinHostPort(host[0], port[0])
		}
	}
	if s.Code() == codes.Unimplemented {
		a.err = fmt.Errorf("the database must be EventStoreDB 23.10 or later, or KurrentDB: %w", err)
	}
	return a
}

// judgeBatch tells what the error within an answer to one append of a batch means.
func judgeBatch(s *rpcstatus.Status) *answer {
	code := codes.Code(s.GetCode()) // google.rpc.Code has the numbers of gRPC's
	a := &answer{verdict: verdicts[code], err: fmt.Errorf("%s: %s", code, s.GetMessage())}
	if len(s.GetDetails()) == 0 {
		return a
	}
	details, err := s.GetDetails()[0].UnmarshalNew()
	if err != nil {
		return a // of a kind that is not known: the code alone counts
	}
	switch d := details.(type) {
	case *shared.WrongExpectedVersion:
		a.verdict = conflict
		if current, ok := d.GetCurrentStreamRevisionOption().(*shared.WrongExpectedVersion_CurrentStreamRevision); ok {
			a.events = current.CurrentStreamRevision + 1
		}
	case *shared.AccessDenied:
		a.verdict = denied
	case *shared.StreamDeleted:
		a.verdict = refused
	case *shared.MaximumAppendSizeExceeded:
		a.verdict = tooLarge
	case *shared.Timeout:
		a.verdict, a.err = elsewhere, errTimeout
	case *shared.Unknown:
		a.verdict = elsewhere
	}
	return a
}
