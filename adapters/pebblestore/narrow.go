package pebblestore

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A filter may pick the events of a few streams out of very many. The index of these streams then gives the positions of
// the events, and the rest of the log need not be read.
const (
	maxByStream = 8192      // events that are found by their streams; more events are found faster by reading the log
	minByStream = 16 * 1024 // a range of fewer positions is read without a look at the index
)

// streamsSource yields the lifecycle events at given places.
type streamsSource struct {
	cursor // only for its treatment of damage; it has no iterator
	filter *eventstore.Filter
	places []place
	event  eventstore.RecordedEvent
}

// narrow finds the places of the events of the filter's streams in a range. ok is false when they are too many.
func (s *Store) narrow(from, to eventstore.Position, opts *eventstore.ReadAllOptions) (places []place, ok bool, err error) {
	if to-from < minByStream || len(opts.Filter.StreamPrefixes) == 0 {
		return nil, false, nil
	}
	for _, prefix := range opts.Filter.StreamPrefixes {
		if strings.HasPrefix(prefix, eventstore.HeartbeatPrefix) {
			continue
		}
		if strings.HasPrefix(eventstore.LifecyclePrefix, prefix) {
			return nil, false, nil // the prefix picks nearly every stream
		}
		places = s.unindexed.under(prefix, places)
		if len(places) > maxByStream {
			return nil, false, nil
		}
		lower := append([]byte{rangeStream, '/'}, prefix...)
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: append(slices.Clone(lower), 0xff)})
		if err != nil {
			return nil, false, err
		}
		for found := it.First(); found; found = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil || len(places) >= maxByStream {
				return nil, false, it.Close() // damage is reported by the cursor that reads the log
			}
			places = append(places, placeIn(v))
		}
		if err := it.Close(); err != nil {
			return nil, false, nil // as above
		}
	}
	places = slices.DeleteFunc(places, func(p place) bool { return p.at < from || p.at > to })
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	places = slices.Compact(places)
	if opts.Backwards {
		slices.Reverse(places)
	}
	return places, true, nil
}

func (n *streamsSource) next() (*eventstore.RecordedEvent, error) {
	for len(n.places) > 0 {
		p := n.places[0]
		n.places = n.places[1:]
		e, err := n.store.lifecycleAt(p)
		if err != nil {
			if err := n.damaged(p.at, errors.Unwrap(err)); err != nil { // lifecycleAt wrapped it in a Damaged
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
