package history

import (
	"context"
	"errors"
	"slices"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Counting picks the events that Count counts. The zero Counting picks all.
type Counting struct {
	Namespace string
	Service   string   // needs a namespace
	Types     []string // any of them; none: every type
}

// scope is the name of the counting's scope in segments.
func (c *Counting) scope() string {
	if c.Service != "" {
		return indexName(domain.ServiceKey{Namespace: c.Namespace, Service: c.Service}.String())
	}
	return indexName(c.Namespace)
}

// Count counts events by type and between bounds: the i-th number of a type is of the events after the i-th bound, up to
// and with the next one. Types without an event between the bounds are left out. Of a segment that no bound divides, Count
// reads the numbers only. So its time depends on the bounds, and hardly on the events. REQUIRES: bounds are at least two, and in
// order.
func (h *History) Count(ctx context.Context, c Counting, bounds []eventstore.Position) (map[string][]int, error) {
	count := count{scope: c.scope(), types: c.Types, bounds: bounds, numbers: map[string][]int{}}
	if err := h.enter(); err != nil {
		return nil, err
	}
	number := h.segments.find(bounds[0] + 1)
	h.leave()
	for more := true; more; number++ {
		var err error
		if more, err = h.countSegment(ctx, number, &count); err != nil {
			return nil, err
		}
	}
	return count.numbers, nil
}

// count is a counting under way.
type count struct {
	scope   string
	types   []string
	bounds  []eventstore.Position
	bucket  int // of the position that was counted last
	numbers map[string][]int
}

// reach moves on to the bucket of a position; false: the position is before the first bound or after the last one. REQUIRES:
// positions come in order.
func (c *count) reach(p eventstore.Position) bool {
	for c.bucket < len(c.bounds)-1 && p > c.bounds[c.bucket+1] {
		c.bucket++
	}
	return c.bucket < len(c.bounds)-1 && p > c.bounds[0]
}

// of are the numbers of a type; nil: it is not counted.
func (c *count) of(eventType string) []int {
	if len(c.types) > 0 && !slices.Contains(c.types, eventType) {
		return nil
	}
	if c.numbers[eventType] == nil {
		c.numbers[eventType] = make([]int, len(c.bounds)-1)
	}
	return c.numbers[eventType]
}

// add counts an event.
func (c *count) add(p eventstore.Position, eventType string) {
	if c.reach(p) {
		if of := c.of(eventType); of != nil {
			of[c.bucket]++
		}
	}
}

// countSegment counts the events of a segment. more says that later segments may have some, too.
func (h *History) countSegment(ctx context.Context, number int64, c *count) (more bool, err error) {
	if err := h.enter(); err != nil {
		return false, err
	}
	defer h.leave()
	if err := h.interrupted(ctx); err != nil {
		return false, err
	}
	inMemory, after, upTo := h.segments.at(number)
	if inMemory != nil {
		c.countInMemory(inMemory)
		return !inMemory.growing && upTo < c.bounds[len(c.bounds)-1], nil
	}
	err = h.blame(h.index.countSealed(number, after, upTo, c))
	return err == nil && upTo < c.bounds[len(c.bounds)-1], err
}

func (c *count) countInMemory(s *segment) {
	types, subjects := s.names.view()
	for i, p := range s.positions {
		of := subjects[s.subjects[i]]
		if c.scope == "" || of.namespace() == c.scope || of.service() == c.scope {
			c.add(p, types[s.types[i]])
		}
	}
}

func (x *index) countSealed(number int64, after, upTo eventstore.Position, c *count) (err error) {
	s, err := x.newSealed(rangeCounts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if c.reach(after+1) && upTo <= c.bounds[c.bucket+1] { // the segment is between two bounds
		section, err := s.get(number, c.scope)
		if err != nil || section == nil {
			return err
		}
		whole, err := readCounts(section)
		for i, n := range whole.numbers {
			if of := c.of(whole.types[i]); of != nil {
				of[c.bucket] += n
			}
		}
		return err
	}
	parts, ok, err := x.placesOf(s, number, c.scope)
	if err != nil || !ok {
		return err
	}
	var numbers [maxTypes][]int // of the first types; nil: the type is not known yet
	return parts.eachPlace(after, func(p eventstore.Position, eventType int) bool {
		if !c.reach(p) {
			return c.bucket < len(c.bounds)-1
		}
		if eventType >= maxTypes {
			c.add(p, parts.types[eventType])
			return true
		}
		of := numbers[eventType]
		if of == nil {
			if of = c.of(parts.types[eventType]); of == nil {
				of = make([]int, len(c.bounds)-1) // the type is not counted
			}
			numbers[eventType] = of
		}
		of[c.bucket]++
		return true
	})
}

// maxTypes is for how many types of a segment no name is looked up for each event.
const maxTypes = 32
