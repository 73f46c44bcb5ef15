package history

import (
	"bytes"
	"context"
	"errors"
	"slices"

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
	s := h.scan(ctx, q)
	defer func() { err = h.blame(errors.Join(err, s.close())) }()
	entries := h.entries()
	defer func() { err = errors.Join(err, entries.close()) }()
	for s.next() {
		found, err := entries.get(s.at)
		if err != nil {
			return 0, false, err
		}
		s.cost += entryCost
		e, err := parseEvent(found)
		if err != nil {
			return 0, false, err
		}
		if len(q.Types) > 0 && !slices.Contains(q.Types, e.Type) {
			continue
		}
		if !yield(&e) {
			return 0, false, nil
		}
	}
	return s.before(), s.stopped, s.err
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
	for _, t := range types {
		of := term{prefix: rangeType, name: t}
		if c.Namespace != "" {
			q := Query{Namespace: c.Namespace, Service: c.Service}
			of = term{prefix: rangeTypeWithin, name: q.terms()[0].name, of: t}
		}
		count := count{bounds: bounds, numbers: make([]int, len(bounds)-1)}
		if err := h.count(ctx, of.clean(), &count); err != nil {
			return nil, err
		}
		if count.any {
			counts[t] = count.numbers
		}
	}
	return counts, nil
}

// count is the counting of one list between bounds.
type count struct {
	bounds  []eventstore.Position
	numbers []int
	bucket  int // of the position that was counted last
	any     bool
}

// reach moves on to the bucket of a position; false: the position is before the first bound or after the last one. REQUIRES:
// positions come in order.
func (c *count) reach(p eventstore.Position) bool {
	for c.bucket < len(c.numbers) && p > c.bounds[c.bucket+1] {
		c.bucket++
	}
	return c.bucket < len(c.numbers) && p > c.bounds[0]
}

func (c *count) add(p eventstore.Position, n int) {
	if c.reach(p) {
		c.numbers[c.bucket] += n
		c.any = true
	}
}

// count counts the positions of a term. A block of the index that is between two bounds counts without being decoded.
func (h *History) count(ctx context.Context, t term, c *count) error {
	young, next := []eventstore.Position(nil), c.bounds[0]+1
	for more := true; more; {
		var err error
		if young, next, more, err = h.countPortion(ctx, t, c, next); err != nil {
			return err
		}
	}
	for _, p := range young {
		c.add(p, 1)
	}
	return nil
}

// countPortion is count for as many blocks of the index as may be read at once, from the one with a position on. It gives the
// position with which to go on, or what is young.
func (h *History) countPortion(ctx context.Context, t term, c *count, from eventstore.Position) (young []eventstore.Position, next eventstore.Position, more bool, err error) {
	if err := h.enter(); err != nil {
		return nil, 0, false, err
	}
	defer h.leave()
	if err := h.interrupted(ctx); err != nil {
		return nil, 0, false, err
	}
	base, young := h.young.list(t)
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: t.key(uint64(from)), UpperBound: t.key(uint64(base) + 1)})
	if err != nil {
		return nil, 0, false, h.blame(err)
	}
	defer func() { err = h.blame(errors.Join(err, it.Close())) }()
	var list []eventstore.Position
	blocks := 0
	for ok := it.First(); ok; ok = it.Next() {
		last := eventstore.Position(tail(it.Key()))
		if blocks++; blocks > maxCost {
			return nil, last, true, nil
		}
		n, first, err := listHead(last, it.Value())
		if err != nil {
			return nil, 0, false, err
		}
		if first > c.bounds[len(c.bounds)-1] {
			return nil, 0, false, nil
		}
		if c.reach(first) && last <= c.bounds[c.bucket+1] {
			c.add(first, n)
			continue
		}
		if list, err = readList(t.prefix, last, it.Value(), list); err != nil {
			return nil, 0, false, err
		}
		for _, p := range list {
			c.add(p, 1)
		}
	}
	return young, 0, false, nil
}

// allTypes are the types of all events in the history.
func (h *History) allTypes(ctx context.Context) (all []string, err error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	all = h.young.types() // first, because what is young may get into the engine meanwhile
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
		if !slices.Contains(all, string(name)) {
			all = append(all, string(name))
		}
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
