package pebblestore

import (
	"context"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// refreshAfter is how many events one set of iterators yields: an iterator pins the files it began
// with, so a long replay must let go of them now and then.
const refreshAfter = 1 << 16

// ReadAll implements eventstore.Store.
func (s *Store) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return untilDone(ctx, s.guarded(func(yield func(eventstore.RecordedEvent, error) bool) {
		from, to := s.bounds(opts)
		left := limit(opts.Limit)
		for from <= to {
			n := 0
			for e, err := range s.merged(from, to, &opts) {
				if left == 0 || !yield(e, err) || err != nil {
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
	}))
}

// bounds are the first and the last position to look at, both included.
func (s *Store) bounds(opts eventstore.ReadAllOptions) (from, to eventstore.Position) {
	durable := eventstore.Position(s.durable.Load())
	if !opts.Backwards {
		if to = durable; opts.To != 0 {
			to = min(to, opts.To)
		}
		return opts.After + 1, to
	}
	if to = durable; opts.After != 0 {
		to = min(to, opts.After-1)
	}
	return max(opts.To, 1), to
}

// merged yields the events of both ranges in position order.
func (s *Store) merged(from, to eventstore.Position, opts *eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
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
				yield(eventstore.RecordedEvent{}, err)
			}
			return err == nil
		}
		if !open(opts.Filter.SkipsLifecycle(), func() (source, error) { return s.lifecycleSource(from, to, opts) }) ||
			!open(opts.Filter.SkipsHeartbeats(), func() (source, error) { return s.heartbeatSource(from, to, opts) }) {
			return
		}
		var next [2]*eventstore.RecordedEvent
		for i, src := range sources {
			e, err := src.next()
			if err != nil {
				yield(eventstore.RecordedEvent{}, err)
				return
			}
			next[i] = e
		}
		for {
			i := 0
			if next[0] == nil || next[1] != nil && (next[1].Position < next[0].Position) != opts.Backwards {
				i = 1
			}
			if next[i] == nil || !yield(*next[i], nil) {
				return
			}
			var err error
			if next[i], err = sources[i].next(); err != nil {
				yield(eventstore.RecordedEvent{}, err)
				return
			}
		}
	}
}

// source yields the picked events of one range in order, then nil. An event is valid until the next.
type source interface {
	next() (*eventstore.RecordedEvent, error)
	close()
}

type lifecycleSource struct {
	it      *pebble.Iterator
	filter  *eventstore.Filter
	back    bool
	started bool
	event   eventstore.RecordedEvent
}

func (s *Store) lifecycleSource(from, to eventstore.Position, opts *eventstore.ReadAllOptions) (source, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lifecycleKey(from), UpperBound: lifecycleKey(to + 1)})
	if err != nil {
		return nil, err
	}
	return &lifecycleSource{it: it, filter: &opts.Filter, back: opts.Backwards}, nil
}

func (l *lifecycleSource) next() (*eventstore.RecordedEvent, error) {
	for advance(l.it, &l.started, l.back) {
		p := eventstore.Position(tail(l.it.Key()))
		v, err := l.it.ValueAndErr()
		if err != nil {
			return nil, &Damaged{p, err}
		}
		e, picked, err := readRecord(p, v, l.filter)
		if err != nil {
			return nil, &Damaged{p, err}
		}
		if picked {
			l.event = e
			return &l.event, nil
		}
	}
	return nil, l.it.Error()
}

func (l *lifecycleSource) close() { _ = l.it.Close() }

type heartbeatSource struct {
	store    *Store
	it       *pebble.Iterator
	filter   *eventstore.Filter
	back     bool
	started  bool
	from, to eventstore.Position
	block    []heartbeat
	i        int // of the entry to look at next
}

func (s *Store) heartbeatSource(from, to eventstore.Position, opts *eventstore.ReadAllOptions) (source, error) {
	lower := blockKey(from - min(from, maxCommitEvents)) // the block that holds from may begin before it
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: blockKey(to + 1)})
	if err != nil {
		return nil, err
	}
	h := &heartbeatSource{store: s, it: it, filter: &opts.Filter, back: opts.Backwards, from: from, to: to}
	if !h.back && it.SeekLT(blockKey(from+1)) { // at the block that may hold from
		h.started = true
		if err := h.load(); err != nil {
			_ = it.Close()
			return nil, err
		}
	}
	return h, nil
}

// maxCommitEvents bounds how far a block reaches: a commit's events lie closer together than this.
const maxCommitEvents = (maxCommitBytes + maxAppendBytes) / 64

func (h *heartbeatSource) load() error {
	first := eventstore.Position(tail(h.it.Key()))
	var err error
	if h.block, err = h.store.blockAt(h.it, first, h.block); err != nil {
		return &Damaged{first, err}
	}
	h.i = 0
	if h.back {
		h.i = len(h.block) - 1
	}
	return nil
}

func (h *heartbeatSource) next() (*eventstore.RecordedEvent, error) {
	for {
		for h.i >= 0 && h.i < len(h.block) {
			entry := &h.block[h.i]
			if h.back {
				h.i--
			} else {
				h.i++
			}
			if entry.event.Position < h.from || entry.event.Position > h.to {
				continue
			}
			name, err := h.store.streamOf(entry.number)
			if err != nil {
				return nil, &Damaged{entry.event.Position, err}
			}
			if entry.event.Stream = name; h.filter.Match(name, entry.event.Type) {
				return &entry.event, nil
			}
		}
		if !advance(h.it, &h.started, h.back) {
			return nil, h.it.Error()
		}
		if err := h.load(); err != nil {
			return nil, err
		}
	}
}

func (h *heartbeatSource) close() { _ = h.it.Close() }

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
