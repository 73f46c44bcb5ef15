package esdbstore

import (
	"context"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// maxAppendBytes is how many bytes of events one call of Append may have. The database has a limit of its own, 1 MiB by
// default.
const maxAppendBytes = 16 << 20

// Append implements eventstore.Store. It sends all requests at once, and the database takes them in their order. Requests whose
// outcome is unknown are sent again, with the same event ids and in the same order, until Timings.LeaderWait has passed.
func (s *Store) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) (_ []eventstore.AppendResult, err error) {
	if len(requests) == 0 {
		return into, nil
	}
	size := 0
	for i := range requests {
		if len(requests[i].Events) == 0 {
			return nil, eventstore.ErrNoEvents
		}
		if requests[i].StreamNumber != 0 { // this store gives no numbers
			return nil, eventstore.ErrNoStreamNumber
		}
		if _, ok := requests[i].Stream.Other(); !ok && !requests[i].Other.IsAny() {
			return nil, eventstore.ErrNoOtherStream
		}
		for _, e := range requests[i].Events {
			size += len(e.Data) + len(e.Metadata) + len(e.Type)
		}
	}
	if size > maxAppendBytes {
		return nil, eventstore.ErrTooLarge
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	calls := make([]*call, len(requests))
	for i := range requests {
		c := &call{}
		if c.proposal, err = propose(&requests[i]); err != nil {
			return nil, err
		}
		calls[i] = c
	}
	if err := s.carryOut(ctx, calls); err != nil {
		return nil, err
	}
	for i, c := range calls {
		result, failed := s.outcome(ctx, &requests[i], c)
		if err == nil {
			err = failed // the first error is the call's
		}
		into = append(into, result)
	}
	return into, err
}

// firstPause is the pause after the first attempt. Each further pause is twice as long, up to maxPause.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = 200 * time.Millisecond
)

// carryOut sends the calls again and again, until the outcome of each is known or LeaderWait has passed.
func (s *Store) carryOut(ctx context.Context, calls []*call) error {
	began, pause := time.Now(), firstPause
	for {
		l, err := s.acquire(ctx)
		if err != nil {
			return err
		}
		g := l.batch.send(calls)
		select {
		case <-g.done:
		case <-ctx.Done():
			l.batch.forget(g)
		case <-s.closing:
			l.batch.forget(g)
		}
		s.release(l)
		if err := s.ended(ctx); err != nil {
			return err
		}
		calls = unknown(calls)
		if len(calls) == 0 {
			return nil
		}
		s.giveUp(l, calls[0].err)
		if time.Since(began) > s.opts.Timings.LeaderWait {
			return fmt.Errorf("after %s: %w", time.Since(began).Round(time.Millisecond), calls[0].err)
		}
		select {
		case <-ctx.Done():
		case <-s.closing:
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// unknown gives the calls whose outcome is not known.
func unknown(calls []*call) (left []*call) {
	for _, c := range calls {
		if c.err != nil && c.err.verdict == elsewhere {
			left = append(left, c)
		}
	}
	return left
}

// outcome is the outcome of a request.
func (s *Store) outcome(ctx context.Context, r *eventstore.AppendRequest, c *call) (eventstore.AppendResult, error) {
	switch {
	case c.err == nil:
		return s.written(ctx, r, c.success)
	case c.err.verdict == conflict:
		return eventstore.AppendResult{Err: &eventstore.WrongExpectedRevision{Stream: r.Stream, Expected: r.Expected, Events: c.err.events}}, nil
	}
	s.opts.Logger.Error("the event store did not carry out an append", "stream", r.Stream, "cause", c.err)
	return eventstore.AppendResult{}, fmt.Errorf("append to %s: %w", r.Stream, c.err)
}

// written is the result of a request that succeeded. The answer to a retry may lack the position, which is then read from
// the event.
func (s *Store) written(ctx context.Context, r *eventstore.AppendRequest, w *streams.BatchAppendResp_Success) (eventstore.AppendResult, error) {
	if r.Stream.IsHeartbeat() {
		s.ages.want(r.Stream)
	}
	position := w.GetPosition().GetCommitPosition()
	result := eventstore.AppendResult{
		Position: eventstore.Position(position), Revision: eventstore.Revision(w.GetCurrentRevision()),
		Untied: !r.Other.IsAny(), // the database checks one stream in an append
	}
	if position != 0 && position != ^uint64(0) {
		return result, nil
	}
	for e, err := range s.ReadStream(ctx, r.Stream, eventstore.ReadOptions{From: result.Revision, Limit: 1}) {
		if err != nil {
			return result, err
		}
		result.Position = e.Position
	}
	return result, nil
}
