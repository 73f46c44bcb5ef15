package pebblestore

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Damaged is the error of a stored event that cannot be read.
type Damaged struct {
	Position eventstore.Position
	Cause    error
}

func (e *Damaged) Error() string {
	return fmt.Sprintf("event at position %d cannot be read: %v", e.Position, e.Cause)
}

func (e *Damaged) Unwrap() error { return e.Cause }

// Head implements eventstore.Store.
func (s *Store) Head(context.Context) (eventstore.Position, error) {
	return eventstore.Position(s.durable.Load()), nil
}

// ReadStream implements eventstore.Store.
func (s *Store) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return untilDone(ctx, s.guarded(s.readStream(stream, opts, eventstore.Position(s.durable.Load()))))
}

// readStream reads events up to a position. REQUIRES: the position is applied to Pebble.
func (s *Store) readStream(stream eventstore.StreamName, opts eventstore.ReadOptions, upTo eventstore.Position) iter.Seq2[eventstore.RecordedEvent, error] {
	if stream.IsHeartbeat() {
		return s.readHeartbeatStream(stream, opts, upTo)
	}
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		left := limit(opts.Limit)
		for p, err := range s.places(stream, opts) {
			if err != nil {
				yield(eventstore.RecordedEvent{}, err)
				return
			}
			if p.at > upTo {
				continue
			}
			e, err := s.lifecycleAt(p)
			if !yield(e, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// places yields the places of a lifecycle stream's events.
func (s *Store) places(stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		from, to := opts.From, eventstore.FromEnd
		if opts.Backwards {
			from, to = 0, opts.From
		}
		recent, first := s.unindexed.between(stream, from, to) // before the engine is asked: a part is dropped once the engine shows it
		if opts.Backwards {
			for _, p := range slices.Backward(recent) {
				if !yield(p, nil) {
					return
				}
			}
		}
		if first > from {
			for p, err := range s.indexedPlaces(stream, from, min(to, first-1), opts.Backwards) {
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
		if !opts.Backwards {
			for _, p := range recent {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// indexedPlaces yields the places that the engine has of a lifecycle stream's events, from a revision to another one.
func (s *Store) indexedPlaces(stream eventstore.StreamName, from, to eventstore.Revision, backwards bool) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		upper := streamKey(stream, to)
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: streamKey(stream, from), UpperBound: append(upper, 0)})
		if err != nil {
			yield(place{}, err)
			return
		}
		defer it.Close()
		start, step := it.First, it.Next
		if backwards {
			start, step = it.Last, it.Prev
		}
		for ok := start(); ok; ok = step() {
			v, err := it.ValueAndErr()
			if err != nil {
				yield(place{}, err)
				return
			}
			if !yield(placeIn(v), nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(place{}, err)
		}
	}
}

func (s *Store) lifecycleAt(p place) (e eventstore.RecordedEvent, err error) {
	v, closer, err := s.db.Get(lifecycleKey(p.key))
	if err != nil {
		return e, &Damaged{p.at, err}
	}
	defer closer.Close()
	r, err := readRecords(p.key, v)
	if err != nil || !r.find(p.at) {
		return e, &Damaged{p.at, errDamaged}
	}
	r.event(&e, new(arena))
	e.Timeline = s.timelines.Of(p.at)
	return e, nil
}

// readHeartbeatStream follows the chain of heartbeats back from the newest. To read forwards, it collects them first.
func (s *Store) readHeartbeatStream(stream eventstore.StreamName, opts eventstore.ReadOptions, upTo eventstore.Position) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		h, err := s.head(stream)
		if err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		newest := eventstore.Position(h.readable.Load())
		left := limit(opts.Limit)
		if opts.Backwards {
			for e, err := range s.chain(stream, newest) {
				if err == nil && (e.Position > upTo || e.Revision > opts.From) {
					continue
				}
				if left == 0 || !yield(e, err) || err != nil {
					return
				}
				left--
			}
			return
		}
		var forwards []eventstore.RecordedEvent
		for e, err := range s.chain(stream, newest) {
			if err != nil {
				yield(e, err)
				return
			}
			if e.Revision < opts.From {
				break
			}
			if e.Position <= upTo {
				forwards = append(forwards, e)
			}
		}
		for _, e := range slices.Backward(forwards) {
			if left == 0 || !yield(e, nil) {
				return
			}
			left--
		}
	}
}

// chain yields a stream's heartbeats, newest first, down to the oldest that the retention has kept.
//
// INVARIANT: buffer is from the pool and belongs to this iteration. An event is copied when it is yielded; its data and
// metadata are never used again, so the reader may keep them.
func (s *Store) chain(stream eventstore.StreamName, newest eventstore.Position) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeHeartbeats, '/'}, UpperBound: after(rangeHeartbeats)})
		if err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		defer it.Close()
		buffer := s.buffer.Get().(*[]heartbeat)
		defer s.buffer.Put(buffer)
		first := eventstore.Position(0) // of the decoded block; 0: none is decoded
		for p := newest; p != 0 && uint64(p) >= s.trimmed.Load(); {
			if first == 0 || p < first {
				if !it.SeekLT(blockKey(p + 1)) {
					if err := it.Error(); err != nil {
						yield(eventstore.RecordedEvent{}, err)
					}
					return
				}
				first = eventstore.Position(tail(it.Key()))
				if *buffer, err = s.blockAt(it, first, *buffer); err != nil {
					yield(eventstore.RecordedEvent{}, &Damaged{first, err})
					return
				}
			}
			i, ok := slices.BinarySearchFunc(*buffer, p, func(h heartbeat, p eventstore.Position) int {
				return int(int64(h.event.Position) - int64(p))
			})
			if !ok { // it was not applied yet when the iterator was made, or it was trimmed since
				return
			}
			h := &(*buffer)[i]
			h.event.Stream = stream
			if !yield(h.event, nil) {
				return
			}
			p = h.previous
		}
	}
}

func (s *Store) blockAt(it *pebble.Iterator, first eventstore.Position, buffer []heartbeat) ([]heartbeat, error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return buffer, err
	}
	decoded, err := s.decodeBlock(first, v, buffer)
	if err != nil {
		return buffer, err
	}
	return decoded, nil
}

// enter keeps the engine open until leave is called. It fails when the store is closing.
func (s *Store) enter() error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.shut {
		return eventstore.ErrClosed
	}
	s.readers.Add(1)
	return nil
}

func (s *Store) leave() { s.readers.Done() }

// guarded ends an iteration when the store closes, and keeps the engine open until it has ended.
func (s *Store) guarded(seq iter.Seq2[eventstore.RecordedEvent, error]) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		if err := s.enter(); err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		defer s.leave()
		for e, err := range seq {
			select {
			case <-s.closing:
				e, err = eventstore.RecordedEvent{}, eventstore.ErrClosed
			default:
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// untilDone ends an iteration with the context's error.
func untilDone(ctx context.Context, seq iter.Seq2[eventstore.RecordedEvent, error]) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		for e, err := range seq {
			if err == nil {
				err = ctx.Err()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func limit(n int) int {
	if n <= 0 {
		return noLimit
	}
	return n
}
