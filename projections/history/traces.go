package history

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/bits"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/traces"
)

// Tracing picks the steps that Trace gives: those of the events of an instance, a service or a namespace after a position, up to
// and with another.
type Tracing struct {
	Namespace string
	Service   string // "": the namespace
	ID        string // "": the service
	After     eventstore.Position
	UpTo      eventstore.Position
}

// names are those of the instances: they begin with prefix, or are prefix where exact.
func (t *Tracing) names() (prefix string, exact bool) {
	switch {
	case t.ID != "":
		return indexName(domain.Key{Namespace: t.Namespace, Service: t.Service, ID: t.ID}.String()), true
	case t.Service != "":
		return indexName(domain.ServiceKey{Namespace: t.Namespace, Service: t.Service}.String()) + "/", false
	}
	return indexName(t.Namespace) + "/", false
}

// Trace calls apply with the steps that a tracing picks, in the order of the events, until apply gives false. Once for each
// instance of a segment, it asks instance for what apply gets with the steps of the instance. The memory that Trace takes does not
// depend on the number of events. REQUIRES: apply does not keep the step.
func Trace[I any](ctx context.Context, h *History, t Tracing, instance func(domain.Key) I, apply func(of I, step *traces.Step) bool) error {
	var instances []I
	return h.trace(ctx, &t, func(r *tracedSteps) bool {
		instances = instances[:0]
		for _, key := range r.keys {
			instances = append(instances, instance(key))
		}
		for step := range r.inOrder {
			if !apply(instances[step.of], &step.Step) {
				return false
			}
		}
		return true
	})
}

// trace calls segment with the steps of each segment that a tracing picks, until segment gives false. Now and then it lets go of the
// folder, so that a folder that has failed can be replaced.
func (h *History) trace(ctx context.Context, t *Tracing, segment func(*tracedSteps) bool) error {
	number, err := h.segmentOf(t.After + 1)
	if err != nil {
		return err
	}
	r := tracedSteps{}
	for more := true; more && err == nil; {
		number, more, err = h.traceSome(ctx, number, math.MaxInt64, t, &r, func(later bool) bool { return segment(&r) && later })
	}
	return err
}

func (h *History) segmentOf(p eventstore.Position) (int64, error) {
	if err := h.enter(); err != nil {
		return 0, err
	}
	defer h.leave()
	return h.segments.find(p), nil
}

// tracePortion is how many segments are read at once.
const tracePortion = 64

// traceSome reads the segments from one up, or down, to before another, but no more than may be read at once, until segment gives
// false: r then has their steps, and later says that later segments may have some, too. next is where segment gave false, or where to
// go on.
func (h *History) traceSome(ctx context.Context, from, to int64, t *Tracing, r *tracedSteps, segment func(later bool) bool) (next int64, more bool, err error) {
	if err := h.enter(); err != nil {
		return 0, false, err
	}
	defer h.leave()
	s, err := h.newSealed(rangeSteps)
	if err != nil {
		return 0, false, h.blame(err)
	}
	defer func() { err = h.blame(errors.Join(err, s.close())) }()
	by := int64(cmp.Compare(to, from))
	for next = from; next != to && next != from+by*tracePortion; next += by {
		if err := h.interrupted(ctx); err != nil {
			return 0, false, err
		}
		later, err := h.index.traceSegment(s, next, t, r)
		if errors.Is(err, errMoved) {
			return next, true, nil
		}
		if err != nil {
			return 0, false, err
		}
		if !segment(later) {
			return next, false, nil
		}
	}
	return next, true, nil
}

// tracedSteps are the steps of some instances in a segment. A step has a slot by the place of its event in the segment.
type tracedSteps struct {
	keys   []domain.Key
	first  int64 // leaf of the segment
	slots  []tracedStep
	taken  []uint64 // a bit for each slot that has a step
	reader traces.Reader
}

// tracedStep is a step of an instance.
type tracedStep struct {
	traces.Step
	of int32 // index in keys
}

func (r *tracedSteps) begin(number, size int64) {
	if int64(len(r.slots)) != size {
		r.slots, r.taken = make([]tracedStep, size), make([]uint64, (size+63)/64)
	}
	r.keys, r.first = r.keys[:0], number*size
	clear(r.taken)
}

func (r *tracedSteps) take(slot int64) *tracedStep {
	r.taken[slot/64] |= 1 << (slot % 64)
	return &r.slots[slot]
}

// inOrder yields the steps in the order of the events.
func (r *tracedSteps) inOrder(yield func(*tracedStep) bool) {
	for i, word := range r.taken {
		for ; word != 0; word &= word - 1 {
			if !yield(&r.slots[i*64+bits.TrailingZeros64(word)]) {
				return
			}
		}
	}
}

// errMoved says that a segment moved from memory to the engine after a sealed was made, so that another sealed must read it.
var errMoved = errors.New("history: the segment is in the engine meanwhile")

// traceSegment reads the steps of a segment. more says that later segments may have some, too.
func (x *index) traceSegment(s *sealed, number int64, t *Tracing, r *tracedSteps) (more bool, err error) {
	size := x.segments.size
	r.begin(number, size)
	inMemory, after, last := x.segments.at(number)
	if inMemory != nil {
		r.fromMemory(inMemory, t)
		return !inMemory.growing && last < t.UpTo, nil
	}
	if number >= s.had {
		return false, errMoved
	}
	begin, end := number*size, (number+1)*size
	if after < t.After || last > t.UpTo { // the span begins or ends within the segment
		positions, err := x.positionsOf(number)
		if err != nil {
			return false, err
		}
		begin, end = number*size+int64(upTo(positions, t.After)), number*size+int64(upTo(positions, t.UpTo))
	}
	return last < t.UpTo, readTraces(s, number, t, begin, end, r)
}

func (r *tracedSteps) fromMemory(s *segment, t *Tracing) {
	prefix, exact := t.names()
	_, subjects := s.names.view()
	places := make([]int, len(subjects)) // one more than the index in keys; 0: it is not known yet; -1: it is not picked
	end := upTo(s.positions, t.UpTo)
	for i := upTo(s.positions, t.After); i < end; i++ {
		at := &places[s.subjects[i]]
		if *at == 0 {
			*at = -1
			if of := subjects[s.subjects[i]]; of.isInstance && picks(prefix, exact, of.name) {
				r.keys = append(r.keys, of.key())
				*at = len(r.keys)
			}
		}
		if *at > 0 {
			*r.take(int64(i)) = tracedStep{s.steps[i], int32(*at - 1)}
		}
	}
}

func picks(prefix string, exact bool, name string) bool {
	return name == prefix || !exact && strings.HasPrefix(name, prefix)
}

// readTraces reads the steps with leaves from begin to before end.
func readTraces(s *sealed, number int64, t *Tracing, begin, end int64, r *tracedSteps) (err error) {
	prefix, exact := t.names()
	return s.values(number, prefix, func(value []byte) (bool, error) {
		r.reader.Open(value, r.first)
		for r.reader.Instance() {
			name := r.reader.Name()
			if string(name) < prefix {
				continue
			}
			if !picks(prefix, exact, string(name)) {
				return false, nil
			}
			key, ok := eventstore.StreamName(eventstore.LifecyclePrefix + string(name)).InstanceKey()
			if !ok {
				continue
			}
			of := int32(len(r.keys))
			r.keys = append(r.keys, key)
			var step traces.Step
			for r.reader.Next(&step) && step.Leaf < end {
				if step.Leaf >= begin {
					*r.take(step.Leaf - r.first) = tracedStep{step, of}
				}
			}
			if err := r.reader.Err(); err != nil || exact {
				return false, err
			}
		}
		return true, r.reader.Err()
	})
}
