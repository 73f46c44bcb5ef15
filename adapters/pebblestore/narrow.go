package pebblestore

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A filter may pick the events of a few streams of very many. Then the streams' own index says where they
// are, and the rest of the log need not be looked through.
const (
	narrowAtMost = 8192      // events found by their streams; more are found faster by looking through the log
	narrowOver   = 16 * 1024 // positions to look through, below which the index is not worth asking
)

// narrowSource yields lifecycle events by their positions.
type narrowSource struct {
	cursor    // for its way with damage; it never walks
	filter    *eventstore.Filter
	positions []eventstore.Position
	event     eventstore.RecordedEvent
}

// narrow finds the positions that the filter's streams have in a range; ok is false when they are too many.
func (s *Store) narrow(from, to eventstore.Position, opts *eventstore.ReadAllOptions) (positions []eventstore.Position, ok bool, err error) {
	if to-from < narrowOver || len(opts.Filter.StreamPrefixes) == 0 {
		return nil, false, nil
	}
	looked := 0
	for _, prefix := range opts.Filter.StreamPrefixes {
		if strings.HasPrefix(prefix, eventstore.HeartbeatPrefix) {
			continue
		}
		if strings.HasPrefix(eventstore.LifecyclePrefix, prefix) {
			return nil, false, nil // nearly everything
		}
		lower := append([]byte{rangeStream, '/'}, prefix...)
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: append(slices.Clone(lower), 0xff)})
		if err != nil {
			return nil, false, err
		}
		for found := it.First(); found; found = it.Next() {
			v, err := it.ValueAndErr()
			if looked++; err != nil || looked > narrowAtMost {
				return nil, false, it.Close() // what cannot be read is told of when it is walked over
			}
			if p := eventstore.Position(binary.BigEndian.Uint64(v)); p >= from && p <= to {
				positions = append(positions, p)
			}
		}
		if err := it.Close(); err != nil {
			return nil, false, nil // as above
		}
	}
	slices.Sort(positions)
	if positions = slices.Compact(positions); opts.Backwards {
		slices.Reverse(positions)
	}
	return positions, true, nil
}

func (n *narrowSource) next() (*eventstore.RecordedEvent, error) {
	for len(n.positions) > 0 {
		p := n.positions[0]
		n.positions = n.positions[1:]
		e, err := n.store.lifecycleAt(p)
		if err != nil {
			if err := n.damaged(p, errors.Unwrap(err)); err != nil { // of the Damaged that it is
				return nil, err
			}
			continue
		}
		if n.filter.Match(e.Stream, e.Type) {
			n.event = e
			return &n.event, nil
		}
	}
	return nil, nil
}
