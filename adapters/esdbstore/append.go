package esdbstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	// attempts is how often an append is sent while its outcome is unknown. The events' ids make that
	// safe: the database knows those that it has.
	attempts = 6
	// maxAppendBytes is what one append may have; the database's own limit is 1 MiB by default.
	maxAppendBytes = 16 << 20
)

// Append implements eventstore.Store. Requests to different streams are under way at once; those to
// one stream follow each other.
func (s *Store) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if len(requests) == 0 {
		return into, nil
	}
	size := 0
	for i := range requests {
		if len(requests[i].Events) == 0 {
			return nil, eventstore.ErrNoEvents
		}
		if requests[i].StreamNumber != 0 { // it gives none
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
	into = append(into, make([]eventstore.AppendResult, len(requests))...)
	results, errs := into[len(into)-len(requests):], make([]error, len(requests))
	if len(requests) == 1 {
		results[0], errs[0] = s.appendOne(ctx, &requests[0])
		return into, errs[0]
	}
	var order []eventstore.StreamName
	byStream := make(map[eventstore.StreamName][]int, len(requests))
	for i := range requests {
		name := requests[i].Stream
		if byStream[name] == nil {
			order = append(order, name)
		}
		byStream[name] = append(byStream[name], i)
	}
	var group sync.WaitGroup
	for _, name := range order {
		group.Go(func() {
			for _, i := range byStream[name] {
				if results[i], errs[i] = s.appendOne(ctx, &requests[i]); errs[i] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return into, errors.Join(errs...)
}

func (s *Store) appendOne(ctx context.Context, r *eventstore.AppendRequest) (result eventstore.AppendResult, err error) {
	select {
	case s.flights <- struct{}{}:
		defer func() { <-s.flights }()
	case <-s.closing:
		return result, eventstore.ErrClosed
	case <-ctx.Done():
		return result, ctx.Err()
	}
	events, err := proposed(r.Events, r.At)
	if err != nil {
		return result, err
	}
	opts := esdb.AppendToStreamOptions{ExpectedRevision: expected(r.Expected)}
	pause := 20 * time.Millisecond
	for range attempts {
		client, connErr := s.connection()
		if connErr == nil {
			var written *esdb.WriteResult
			written, err = run(s, ctx, func(ctx context.Context) (*esdb.WriteResult, error) {
				return client.AppendToStream(ctx, string(r.Stream), opts, events...)
			})
			if err == nil {
				if r.Stream.IsHeartbeat() {
					s.ages.want(r.Stream)
				}
				return s.written(ctx, r, written)
			}
			v, mapped := s.judge(err)
			switch {
			case ctx.Err() != nil:
				return result, ctx.Err()
			case v == conflict:
				result.Err, err = s.conflict(ctx, r)
				return result, err
			case v == fatal:
				return result, mapped
			}
			err = fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
		} else if err = connErr; !errors.Is(err, eventstore.ErrUnavailable) {
			return result, err
		}
		select {
		case <-ctx.Done():
			return result, ctx.Err()
		case <-s.closing:
			return result, eventstore.ErrClosed
		case <-time.After(pause):
		}
		pause *= 2
	}
	return result, err // the outcome is unknown
}

// proposed gives events ids before they are sent the first time.
func proposed(events []eventstore.EventData, at time.Time) ([]esdb.EventData, error) {
	out := make([]esdb.EventData, len(events))
	for i, e := range events {
		id := e.ID
		if id == uuid.Nil {
			var err error
			if id, err = uuid.NewV7(); err != nil {
				return nil, err
			}
		}
		out[i] = esdb.EventData{EventID: id, EventType: e.Type, ContentType: esdb.ContentTypeJson, Data: e.Data, Metadata: withTime(e.Metadata, at)}
	}
	return out, nil
}

func expected(e eventstore.ExpectedRevision) esdb.ExpectedRevision {
	if r, ok := e.Exact(); ok {
		return esdb.Revision(uint64(r))
	}
	switch {
	case e.IsNoStream():
		return esdb.NoStream{}
	case e == eventstore.StreamExists():
		return esdb.StreamExists{}
	}
	return esdb.Any{}
}

// written reads the outcome. An answer to a retry may lack the position; the event has it.
func (s *Store) written(ctx context.Context, r *eventstore.AppendRequest, w *esdb.WriteResult) (eventstore.AppendResult, error) {
	result := eventstore.AppendResult{
		Position: eventstore.Position(w.CommitPosition), Revision: eventstore.Revision(w.NextExpectedVersion),
		Untied: !r.Other.IsAny(), // an append concerns one stream there
	}
	if w.CommitPosition != 0 && w.CommitPosition != ^uint64(0) {
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

// conflict says how many events the stream has: the client tells it in words only.
func (s *Store) conflict(ctx context.Context, r *eventstore.AppendRequest) (conflict, err error) {
	c := &eventstore.WrongExpectedRevision{Stream: r.Stream, Expected: r.Expected}
	for e, err := range s.ReadStream(ctx, r.Stream, eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}) {
		if err != nil {
			return nil, err
		}
		c.Events = uint64(e.Revision) + 1
	}
	return c, nil
}
