package esdbstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// recorded is an event in the port's form; ok is false for the database's own.
func recorded(r *esdb.ResolvedEvent) (e eventstore.RecordedEvent, ok bool) {
	o := r.OriginalEvent()
	if o == nil || strings.HasPrefix(o.StreamID, "$") {
		return e, false
	}
	metadata, at := withoutTime(o.UserMetadata)
	if at.IsZero() {
		at = o.CreatedDate.UTC()
	}
	return eventstore.RecordedEvent{
		EventData: eventstore.EventData{ID: o.EventID, Type: o.EventType, Data: o.Data, Metadata: metadata},
		Stream:    eventstore.StreamName(o.StreamID), Revision: eventstore.Revision(o.EventNumber), Position: eventstore.Position(o.Position.Commit),
		RecordedAt: at,
	}, true
}

// The database stamps events itself; one that comes from another store has its time in its metadata,
// where only this package sees it.
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

func place(p eventstore.Position) esdb.Position {
	return esdb.Position{Commit: uint64(p), Prepare: uint64(p)}
}

// reading opens a read and yields what it gives. A read that breaks is the caller's to repeat.
func (s *Store) reading(ctx context.Context, open func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error)) iter.Seq2[*esdb.ResolvedEvent, error] {
	return func(yield func(*esdb.ResolvedEvent, error) bool) {
		client, err := s.connection()
		if err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.lives, cancel)()
		r, err := open(ctx, client)
		if err != nil {
			yield(nil, s.readError(ctx, err))
			return
		}
		defer r.Close()
		for {
			e, err := r.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			var coded *esdb.Error
			if errors.As(err, &coded) && coded.Code() == esdb.ErrorCodeResourceNotFound {
				return // an unknown stream has no events
			}
			if err != nil {
				err = s.readError(ctx, err)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) readError(ctx context.Context, err error) error {
	select {
	case <-s.closing:
		return eventstore.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v, mapped := s.judge(err)
	if v == again {
		return errors.Join(eventstore.ErrUnavailable, err)
	}
	return mapped
}

// ReadStream implements eventstore.Store.
func (s *Store) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	o := esdb.ReadStreamOptions{Direction: esdb.Forwards, From: esdb.Revision(uint64(opts.From))}
	if opts.Backwards {
		o.Direction = esdb.Backwards
		if opts.From >= eventstore.FromEnd {
			o.From = esdb.End{}
		}
	}
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		seq := s.reading(ctx, func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
			return c.ReadStream(ctx, string(stream), o, count(opts.Limit))
		})
		for r, err := range seq {
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

func count(limit int) uint64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return uint64(limit)
}

// ReadAll implements eventstore.Store. Forwards with a filter of streams it reads by a subscription, so
// that the database leaves out what is not asked for.
func (s *Store) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	if !opts.Backwards && len(opts.Filter.StreamPrefixes) > 0 {
		return s.readFiltered(ctx, opts)
	}
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		o := esdb.ReadAllOptions{Direction: esdb.Forwards, From: esdb.Start{}}
		if opts.Backwards {
			o.Direction, o.From = esdb.Backwards, esdb.End{}
		}
		if opts.After > 0 {
			o.From = place(opts.After)
		}
		left := opts.Limit
		seq := s.reading(ctx, func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
			return c.ReadAll(ctx, o, math.MaxInt64)
		})
		for r, err := range seq {
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
		sub := &subscription{store: s, filter: opts.Filter, position: opts.After, untilCaughtUp: true, done: make(chan struct{})}
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
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for e, err := range s.ReadAll(ctx, eventstore.ReadAllOptions{Backwards: true, Limit: 1}) {
		return e.Position, err
	}
	return 0, nil
}

// pauseFor waits, or less when the context ends.
func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
