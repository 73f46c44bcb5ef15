package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Each calls yield with the events that a query picks, until yield gives false. It reads without what Find looks up beside
// an event, and takes little memory. Between portions of the events it lets go of the folder, so that a folder that has
// failed can be replaced; then Each gives an error. REQUIRES: q has no Via, Reason, Visible and Limit.
func (h *History) Each(ctx context.Context, q Query, yield func(e *eventstore.RecordedEvent) bool) error {
	for {
		next, more, err := h.portion(ctx, &q, yield)
		if err != nil || !more {
			return err
		}
		if q.Newest {
			q.Before = next
		} else {
			q.After = next
		}
	}
}

// portion is Each for as many events as one scan may cost.
func (h *History) portion(ctx context.Context, q *Query, yield func(e *eventstore.RecordedEvent) bool) (next eventstore.Position, more bool, err error) {
	if err := h.enter(); err != nil {
		return 0, false, err
	}
	defer h.leave()
	s, err := h.scan(ctx, q)
	if err != nil {
		return 0, false, h.blame(err)
	}
	defer func() { err = h.blame(errors.Join(err, s.close())) }()
	entries, err := h.everything(q.Newest)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, entries.close()) }()
	for s.next() {
		raw, err := entries.raw(s.at)
		if err != nil {
			return 0, false, err
		}
		s.cost += entryCost
		e, err := parseEvent(s.at, raw)
		if err != nil {
			return 0, false, err
		}
		if !yield(&e) {
			return 0, false, nil
		}
	}
	return s.before(), s.stopped, s.err
}

// parseEvent is the event of an entry, without its id.
func parseEvent(p eventstore.Position, raw []byte) (eventstore.RecordedEvent, error) {
	_, n := binary.Uvarint(raw)
	if n > 0 {
		if e, ok := cutEvent(raw[n:]); ok {
			e.Position = p
			return e, nil
		}
	}
	e, err := parseEntry(p, raw)
	return e.RecordedEvent, err
}

// cutEvent cuts a canonical event into its fields. It is much faster than decoding the event. ok is false where the event
// has to be decoded: a text has escapes, or the event's documents cannot be told apart.
func cutEvent(b []byte) (e eventstore.RecordedEvent, ok bool) {
	// The fields up to data are texts and numbers of the registry. Data ends at the last field metadata, unless the
	// metadata of another program has such a field, too; then data is no JSON.
	head, rest, ok := bytes.Cut(b, []byte(`,"data":`))
	at := bytes.LastIndex(rest, []byte(`,"metadata":`))
	if !ok || at < 0 || bytes.IndexByte(head, '\\') >= 0 {
		return e, false
	}
	data, metadata := rest[:at], rest[at+len(`,"metadata":`):len(rest)-1]
	stream, head, ok := cutField(head, `"stream":"`, `"`)
	if !ok {
		return e, false
	}
	revision, head, ok := cutField(head, `,"revision":`, `,`)
	if !ok {
		return e, false
	}
	recorded, head, ok := cutField(head, `"recorded_at":"`, `"`)
	if !ok {
		return e, false
	}
	kind, _, ok := cutField(head, `,"type":"`, `"`)
	if !ok || bytes.Contains(data, []byte(`"metadata":`)) && !json.Valid(data) {
		return e, false
	}
	number, err := strconv.ParseUint(string(revision), 10, 64)
	if err != nil {
		return e, false
	}
	if e.RecordedAt, err = time.Parse(time.RFC3339Nano, string(recorded)); err != nil {
		return e, false
	}
	e.Stream, e.Revision, e.Type = eventstore.StreamName(stream), eventstore.Revision(number), string(kind)
	e.Data, e.Metadata = bytes.Clone(data), bytes.Clone(metadata)
	return e, true
}

// cutField is what stands between a field's beginning and its end, and what follows.
func cutField(b []byte, begin, end string) (field, rest []byte, ok bool) {
	if _, b, ok = bytes.Cut(b, []byte(begin)); !ok {
		return nil, nil, false
	}
	return bytes.Cut(b, []byte(end))
}

// ActorOf is the actor in an event's metadata; "": there is none.
func ActorOf(e *eventstore.RecordedEvent) string {
	actor, _ := actorOf(e.Metadata)
	return actor
}

// Counting picks the events that Count counts. The zero Counting picks all.
type Counting struct {
	Namespace string
	Service   string   // needs a namespace
	Types     []string // any of them; none: every type
}

// countedAtOnce is how many positions of a namespace or a service Count keeps in memory at a time.
const countedAtOnce = 1 << 20

// Count counts events by type and between bounds: the i-th number of a type is of the events after the i-th bound, up to
// and with the next one. Types without an event between the bounds are left out. Count reads indexes only. REQUIRES: bounds
// are at least two, and in order.
func (h *History) Count(ctx context.Context, c Counting, bounds []eventstore.Position) (map[string][]int, error) {
	types, err := c.Types, error(nil)
	if len(types) == 0 {
		if types, err = h.allTypes(ctx); err != nil {
			return nil, err
		}
	}
	counts := map[string][]int{}
	after, last := bounds[0], bounds[len(bounds)-1]
	if c.Namespace == "" {
		return counts, h.count(ctx, types, nil, after, last, bounds, counts)
	}
	of := Query{Namespace: c.Namespace, Service: c.Service}
	for after < last {
		var chosen []eventstore.Position
		upTo := last
		err := h.run(ctx, of.terms()[0], after, last, func(p eventstore.Position) bool {
			chosen = append(chosen, p)
			if len(chosen) == countedAtOnce {
				upTo = p
			}
			return len(chosen) < countedAtOnce
		})
		if err == nil && len(chosen) > 0 {
			err = h.count(ctx, types, chosen, after, upTo, bounds, counts)
		}
		if err != nil {
			return nil, err
		}
		after = upTo
	}
	return counts, nil
}

// count adds the events of some types after one position and up to another to counts. chosen are the positions that count,
// in order; nil: all do.
func (h *History) count(ctx context.Context, types []string, chosen []eventstore.Position, after, upTo eventstore.Position, bounds []eventstore.Position, counts map[string][]int) error {
	for _, t := range types {
		numbers, bucket, left := counts[t], 0, chosen
		err := h.run(ctx, term{rangeType, t}, after, upTo, func(p eventstore.Position) bool {
			if chosen != nil {
				for len(left) > 0 && left[0] < p {
					left = left[1:]
				}
				if len(left) == 0 {
					return false
				}
				if left[0] != p {
					return true
				}
			}
			for p > bounds[bucket+1] {
				bucket++
			}
			if numbers == nil {
				numbers = make([]int, len(bounds)-1)
				counts[t] = numbers
			}
			numbers[bucket]++
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// run calls yield with the positions of a term after one position and up to another, in order, until yield gives false.
func (h *History) run(ctx context.Context, t term, after, upTo eventstore.Position, yield func(eventstore.Position) bool) error {
	for more := true; more; {
		var err error
		if after, more, err = h.runPortion(ctx, t, after, upTo, yield); err != nil {
			return err
		}
	}
	return nil
}

// runPortion is run for as many blocks of the index as may be read at once. It gives the last position of the newest block
// that it has read.
func (h *History) runPortion(ctx context.Context, t term, after, upTo eventstore.Position, yield func(eventstore.Position) bool) (last eventstore.Position, more bool, err error) {
	if err := h.enter(); err != nil {
		return 0, false, err
	}
	defer h.leave()
	if err := h.interrupted(ctx); err != nil {
		return 0, false, err
	}
	name := indexName(t.name)
	it, err := h.db.NewIter(&pebble.IterOptions{
		LowerBound: indexKey(t.prefix, name, uint64(after)+1), UpperBound: append(indexKey(t.prefix, name, ^uint64(0)), 0),
	})
	if err != nil {
		return 0, false, h.blame(err)
	}
	defer func() { err = h.blame(errors.Join(err, it.Close())) }()
	var block []eventstore.Position
	blocks := 0
	for ok := it.First(); ok; ok = it.Next() {
		if blocks++; blocks > maxCost {
			return last, true, nil
		}
		last = eventstore.Position(tail(it.Key()))
		if block, err = readPostings(last, it.Value(), block); err != nil {
			return last, false, err
		}
		if block[0] > upTo {
			return last, false, nil
		}
		for _, p := range block {
			if p > after && (p > upTo || !yield(p)) {
				return last, false, nil
			}
		}
	}
	return last, false, nil
}

// allTypes are the types of all events in the history.
func (h *History) allTypes(ctx context.Context) (all []string, err error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: []byte{rangeType}, UpperBound: []byte{rangeType + 1}})
	if err != nil {
		return nil, h.blame(err)
	}
	defer func() { err = h.blame(errors.Join(err, it.Close())) }()
	for ok := it.First(); ok; {
		if err := h.interrupted(ctx); err != nil {
			return nil, err
		}
		name, _, _ := bytes.Cut(it.Key()[1:], []byte{0})
		all = append(all, string(name))
		ok = it.SeekGE(append(append([]byte{rangeType}, name...), 1)) // behind all blocks of the type
	}
	return all, nil
}

// EpochBefore is the newest registration of an instance up to a position; ok is false when there is none.
func (h *History) EpochBefore(ctx context.Context, key domain.Key, upTo eventstore.Position) (at eventstore.Position, ok bool, err error) {
	q := Query{
		Namespace: key.Namespace, Service: key.Service, ID: key.ID, Types: []string{domain.TypeInstanceRegistered}, Before: upTo + 1, Newest: true,
	}
	err = h.Each(ctx, q, func(e *eventstore.RecordedEvent) bool {
		at, ok = e.Position, true
		return false
	})
	return at, ok, err
}
