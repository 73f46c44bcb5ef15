package esdbstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The database gives events their recorded times. An event that comes from another store has its time in the metadata, in a
// field that only this package sees.
const timeField = `{"rollcall_recorded_at":"`

func withTime(metadata []byte, at time.Time) []byte {
	if at.IsZero() || len(metadata) < 2 || metadata[0] != '{' {
		return metadata
	}
	b := append(make([]byte, 0, len(metadata)+64), timeField...)
	b = append(at.UTC().AppendFormat(b, time.RFC3339Nano), '"')
	if rest := bytes.TrimLeft(metadata[1:], " \t\r\n"); len(rest) > 0 && rest[0] != '}' {
		b = append(b, ',')
	}
	return append(b, metadata[1:]...)
}

func withoutTime(metadata []byte) (rest []byte, at time.Time) {
	after, ok := bytes.CutPrefix(metadata, []byte(timeField))
	end := bytes.IndexByte(after, '"')
	if !ok || end < 0 {
		return metadata, at
	}
	at, err := time.Parse(time.RFC3339Nano, string(after[:end]))
	if err != nil {
		return metadata, time.Time{}
	}
	return append([]byte{'{'}, bytes.TrimPrefix(after[end+1:], []byte{','})...), at
}

// headTimeout bounds the search for the newest event.
const headTimeout = 10 * time.Second

// reading yields the events of a read from the leader. A read that fails before its first event is repeated, until LeaderWait
// has passed. A read that fails later gives its error.
func (s *Store) reading(ctx context.Context, request *streams.ReadReq) iter.Seq2[*streams.ReadResp_ReadEvent, error] {
	return func(yield func(*streams.ReadResp_ReadEvent, error) bool) {
		began, pause := time.Now(), firstPause
		for {
			l, err := s.acquire(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			brought, failed := s.readOnce(ctx, l, request, yield)
			if failed == nil {
				return
			}
			if err := s.ended(ctx); err != nil {
				yield(nil, err)
				return
			}
			if failed.verdict != elsewhere {
				s.opts.Logger.Error("the event store did not carry out a read", "cause", failed)
			}
			if failed.verdict != elsewhere || brought || time.Since(began) > s.opts.Timings.LeaderWait {
				yield(nil, failed)
				return
			}
			pauseFor(ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// readOnce yields the events of one attempt, and releases the link. No failure means that the read has ended, or that the
// caller wants no more events.
func (s *Store) readOnce(ctx context.Context, l *link, request *streams.ReadReq, yield func(*streams.ReadResp_ReadEvent, error) bool) (brought bool, failed *answer) {
	defer s.release(l)
	reads, cancel := context.WithCancel(asLeader(ctx))
	defer cancel()
	defer context.AfterFunc(s.lives, cancel)()
	defer context.AfterFunc(l.works, cancel)()
	r, err := l.client.Read(reads, request)
	if err != nil {
		return false, s.broken(ctx, l, judge(err, nil))
	}
	for {
		resp, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return brought, nil
		}
		if err != nil {
			a := judge(err, r.Trailer())
			if a.verdict == missing {
				return brought, nil // an unknown stream has no events
			}
			return brought, s.broken(ctx, l, a)
		}
		if e := resp.GetEvent(); e != nil {
			brought = true
			if !yield(e, nil) {
				return brought, nil
			}
		}
	}
}

// broken begins the search for a leader when the answer requires one, unless the caller ended the read. A slow read says
// nothing about the node; the ping does.
func (s *Store) broken(ctx context.Context, l *link, a *answer) *answer {
	code := status.Code(a.err)
	if a.verdict == elsewhere && s.ended(ctx) == nil && code != codes.DeadlineExceeded && code != codes.Canceled {
		s.giveUp(l, a)
	}
	return a
}

// ReadStream implements eventstore.Store.
func (s *Store) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		for r, err := range s.reading(ctx, readStreamRequest(stream, opts.From, opts.Backwards, opts.Limit)) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(eventstore.RecordedEvent{}, err)
				return
			}
			if e, ok := recorded(r); ok && !yield(e, nil) {
				return
			}
		}
	}
}

// ReadAll implements eventstore.Store. Forwards with a filter of streams it reads by a subscription, so
// that the database leaves out the other streams.
func (s *Store) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	if !opts.Backwards && len(opts.Filter.StreamPrefixes) > 0 {
		return s.readFiltered(ctx, opts)
	}
	var from *eventstore.Position
	if opts.After > 0 {
		from = &opts.After
	}
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		left := opts.Limit
		for r, err := range s.reading(ctx, readAllRequest(from, opts.Backwards, 0)) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(eventstore.RecordedEvent{}, err)
				return
			}
			e, ok := recorded(r)
			switch {
			case !ok || !opts.Backwards && e.Position <= opts.After || opts.Backwards && opts.After > 0 && e.Position >= opts.After:
				continue
			case opts.Backwards && e.Position < opts.To, !opts.Backwards && opts.To > 0 && e.Position > opts.To:
				return
			case !opts.Filter.Match(e.Stream, e.Type):
				continue
			}
			if !yield(e, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

func (s *Store) readFiltered(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		head, err := s.Head(ctx)
		if err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		to := head
		if opts.To > 0 {
			to = min(to, opts.To)
		}
		if to <= opts.After {
			return
		}
		sub := s.newSubscription(opts.After, opts.Filter)
		sub.untilCaughtUp = true
		defer sub.Close()
		left := opts.Limit
		for {
			events, position, err := sub.Next(ctx)
			if err != nil && !errors.Is(err, errCaughtUp) {
				yield(eventstore.RecordedEvent{}, err)
				return
			}
			for i := range events {
				if events[i].Position > to || !yield(events[i], nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			if err != nil || position >= to {
				return
			}
		}
	}
}

// Head implements eventstore.Store.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true, Limit: 1}) {
		return e.Position, err
	}
	return 0, nil
}

// pauseFor waits until the time has passed or the context ends.
func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
