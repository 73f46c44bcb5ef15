package pebblestore

import (
	"context"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// refreshAfter is how many events one set of iterators yields. An iterator keeps the files that it began with from being
// deleted, so a long replay must make new iterators from time to time.
const refreshAfter = 1 << 16

// ReadAll implements eventstore.Store.
func (s *Store) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return s.readAll(ctx, opts, &names{store: s})
}

// readAll is ReadAll with the names of heartbeat streams that the reader has read already.
func (s *Store) readAll(ctx context.Context, opts eventstore.ReadAllOptions, names *names) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		err := ctx.Err()
		if err == nil {
			err = s.enter()
		}
		if err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		defer s.leave()
		from, to := s.bounds(opts)
		left := limit(opts.Limit)
		for from <= to {
			n := 0
			for e, err := range s.merged(from, to, &opts, names) {
				if left == 0 {
					return
				}
				select {
				case <-s.closing:
					err = eventstore.ErrClosed
				default:
					if err == nil {
						err = ctx.Err()
					}
				}
				if err != nil {
					yield(eventstore.RecordedEvent{}, err)
					return
				}
				if !yield(*e, nil) {
					return
				}
				left--
				if opts.Backwards {
					to = e.Position - 1
				} else {
					from = e.Position + 1
				}
				if n++; n == refreshAfter {
					break
				}
			}
			if n < refreshAfter {
				return
			}
		}
	}
}

// bounds are the first and the last position to look at, both included.
func (s *Store) bounds(opts eventstore.ReadAllOptions) (from, to eventstore.Position) {
	durable := eventstore.Position(s.durable.Load())
	if !opts.Backwards {
		to = durable
		if opts.To != 0 {
			to = min(to, opts.To)
		}
		return opts.After + 1, to
	}
	to = durable
	if opts.After != 0 {
		to = min(to, opts.After-1)
	}
	return max(opts.To, 1), to
}

// merged yields the events of both ranges in position order. An event is valid until the next one is asked for.
func (s *Store) merged(from, to eventstore.Position, opts *eventstore.ReadAllOptions, names *names) iter.Seq2[*eventstore.RecordedEvent, error] {
	return func(yield func(*eventstore.RecordedEvent, error) bool) {
		var sources []source
		defer func() {
			for _, src := range sources {
				src.close()
			}
		}()
		open := func(skip bool, make func() (source, error)) bool {
			if skip {
				return true
			}
			src, err := make()
			if err == nil {
				sources = append(sources, src)
			} else {
				yield(nil, err)
			}
			return err == nil
		}
		if !open(opts.Filter.SkipsLifecycle(), func() (source, error) { return s.lifecycleSource(from, to, opts) }) ||
			!open(opts.Filter.SkipsHeartbeats(), func() (source, error) { return s.heartbeatSource(from, to, opts, names) }) {
			return
		}
		var next [2]*eventstore.RecordedEvent
		for i, src := range sources {
			e, err := src.next()
			if err != nil {
				yield(nil, err)
				return
			}
			next[i] = e
		}
		for {
			i := 0
			if next[0] == nil || next[1] != nil && (next[1].Position < next[0].Position) != opts.Backwards {
				i = 1
			}
			if next[i] == nil || !yield(next[i], nil) {
				return
			}
			var err error
			if next[i], err = sources[i].next(); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// source yields the picked events of one range in order, then nil. An event is valid until the next one is asked for.
type source interface {
	next() (*eventstore.RecordedEvent, error)
	close()
}

// cursor goes through the keys of a range. It goes on after a damaged key if the store has OnDamaged.
type cursor struct {
	store    *Store
	it       *pebble.Iterator
	prefix   byte
	from, to eventstore.Position // bounds of the keys, both included
	back     bool
	started  bool
	at       eventstore.Position // of the key that was read last; at the beginning, the position before the first
}

func (s *Store) cursor(prefix byte, from, to eventstore.Position, back bool) (cursor, error) {
	c := cursor{store: s, prefix: prefix, from: from, to: to, back: back, at: from - 1}
	if back {
		c.at = to + 1
	}
	return c, c.open()
}

func (c *cursor) open() (err error) {
	c.started = false
	c.it, err = c.store.db.NewIter(&pebble.IterOptions{LowerBound: key64(c.prefix, uint64(c.from)), UpperBound: key64(c.prefix, uint64(c.to)+1)})
	return err
}

// next moves to the next key; ok is false at the end.
func (c *cursor) next() (p eventstore.Position, value []byte, ok bool, err error) {
	for {
		if advance(c.it, &c.started, c.back) {
			p = eventstore.Position(tail(c.it.Key()))
			c.at = p
			if value, err = c.it.ValueAndErr(); err == nil {
				return p, value, true, nil
			}
			if err = c.damaged(p, err); err != nil {
				return p, nil, false, err
			}
			continue
		}
		err := c.it.Error()
		if err == nil {
			return 0, nil, false, nil
		}
		// The engine does not say which key it could not read. It is taken for the next position.
		if c.back {
			c.at--
		} else {
			c.at++
		}
		if err := c.damaged(c.at, err); err != nil {
			return 0, nil, false, err
		}
		switch {
		case c.back && c.at <= c.from, !c.back && c.at >= c.to:
			return 0, nil, false, nil
		case c.back:
			c.to = c.at - 1
		default:
			c.from = c.at + 1
		}
		_ = c.it.Close() // the error is known
		if err := c.open(); err != nil {
			return 0, nil, false, err
		}
	}
}

// damaged reports a key that cannot be read to OnDamaged, and the cursor goes on. Without OnDamaged it gives the error.
func (c *cursor) damaged(p eventstore.Position, cause error) error {
	d := &Damaged{p, cause}
	if c.store.opts.OnDamaged == nil {
		return d
	}
	c.store.opts.OnDamaged(d)
	return nil
}

func (c *cursor) close() {
	if c.it != nil {
		_ = c.it.Close() // the error is known
	}
}

type heartbeatSource struct {
	cursor
	names       *names
	filter      *eventstore.Filter
	first, last eventstore.Position // the positions asked for; the block that holds first may begin before it
	block       []heartbeat
	i           int // index of the entry to look at next
}

func (s *Store) heartbeatSource(from, to eventstore.Position, opts *eventstore.ReadAllOptions, names *names) (source, error) {
	begin, err := s.blockBefore(rangeHeartbeats, from)
	if err != nil {
		return nil, err
	}
	c, err := s.cursor(rangeHeartbeats, begin, to, opts.Backwards)
	return &heartbeatSource{cursor: c, names: names, filter: &opts.Filter, first: from, last: to}, err
}

// blockBefore is the first position of the value of a range that may hold a position.
func (s *Store) blockBefore(prefix byte, p eventstore.Position) (eventstore.Position, error) {
	if p <= 1 {
		return p, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key64(prefix, uint64(p-min(p, maxCommitEvents))), UpperBound: key64(prefix, uint64(p+1))})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !it.Last() {
		if s.opts.OnDamaged != nil {
			return p, nil // the cursor reports the damage
		}
		return p, it.Error()
	}
	return eventstore.Position(tail(it.Key())), nil
}

// maxCommitEvents is more than the number of events in a commit, and so more than the positions that a value covers.
const maxCommitEvents = (maxCommitBytes + maxAppendBytes) / 64

func (h *heartbeatSource) next() (*eventstore.RecordedEvent, error) {
	for {
		for h.i >= 0 && h.i < len(h.block) {
			entry := &h.block[h.i]
			if h.back {
				h.i--
			} else {
				h.i++
			}
			if entry.event.Position < h.first || entry.event.Position > h.last {
				continue
			}
			name, err := h.names.of(entry.event.StreamNumber)
			if err != nil {
				if err := h.damaged(entry.event.Position, err); err != nil {
					return nil, err
				}
				continue
			}
			entry.event.Stream = name
			if h.filter.Match(name, entry.event.Type) {
				return &entry.event, nil
			}
		}
		p, v, ok, err := h.cursor.next()
		if err != nil || !ok {
			return nil, err
		}
		block, err := h.store.decodeBlock(p, v, h.block)
		if err != nil {
			if err := h.damaged(p, err); err != nil {
				return nil, err
			}
			block = nil
		}
		h.block, h.i = block, 0
		if h.back {
			h.i = len(block) - 1
		}
	}
}

func advance(it *pebble.Iterator, started *bool, back bool) bool {
	if *started {
		if back {
			return it.Prev()
		}
		return it.Next()
	}
	*started = true
	if back {
		return it.Last()
	}
	return it.First()
}
