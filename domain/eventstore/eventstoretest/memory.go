package eventstoretest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Memory is an event store in memory, for tests. It keeps the port's promises in the simplest way, and its events are lost
// when it is closed.
type Memory struct {
	Now     func() time.Time     // nil: time.Now
	Untying bool                 // the store cannot tie an append to another stream
	On      eventstore.Timelines // see Timelines

	mu      sync.Mutex
	events  []eventstore.RecordedEvent // the event at position p is events[p-1]
	streams map[eventstore.StreamName][]eventstore.Position
	grown   chan struct{} // closed and replaced when events are appended
	closed  bool
}

// NewMemory is an empty store.
func NewMemory() *Memory {
	return &Memory{streams: make(map[eventstore.StreamName][]eventstore.Position), grown: make(chan struct{})}
}

// Append implements eventstore.Store.
func (m *Memory) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, eventstore.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, r := range requests {
		if len(r.Events) == 0 {
			return nil, eventstore.ErrNoEvents
		}
		if r.StreamNumber != 0 {
			return nil, eventstore.ErrNoStreamNumber
		}
		if _, ok := r.Stream.Other(); !ok && !r.Other.IsAny() {
			return nil, eventstore.ErrNoOtherStream
		}
	}
	refused := m.notTogether(requests)
	for i, r := range requests {
		if refused != nil {
			into = append(into, refused[i])
			continue
		}
		result := m.append(r)
		result.Untied = m.Untying && !r.Other.IsAny() && result.Err == nil
		into = append(into, result)
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return into, nil
}

// notTogether are the results of requests that are bound to each other, if one of them is refused; nil: none is.
func (m *Memory) notTogether(requests []eventstore.AppendRequest) []eventstore.AppendResult {
	if len(requests) == 0 || !requests[0].Together {
		return nil
	}
	results, refused := make([]eventstore.AppendResult, len(requests)), false
	for i, r := range requests {
		results[i].Err = eventstore.ErrNotTogether
		if events := uint64(len(m.streams[r.Stream])); !r.Expected.Holds(events) {
			results[i].Err, refused = &eventstore.WrongExpectedRevision{Stream: r.Stream, Expected: r.Expected, Events: events}, true
		}
	}
	if !refused {
		return nil
	}
	return results
}

func (m *Memory) append(r eventstore.AppendRequest) eventstore.AppendResult {
	stream := m.streams[r.Stream]
	if at, ok := m.retried(r, stream); ok {
		return eventstore.AppendResult{Position: stream[at], Revision: eventstore.Revision(at)}
	}
	if !r.Expected.Holds(uint64(len(stream))) {
		return eventstore.AppendResult{Err: &eventstore.WrongExpectedRevision{Stream: r.Stream, Expected: r.Expected, Events: uint64(len(stream))}}
	}
	if other, ok := r.Stream.Other(); ok && !m.Untying && !r.Other.Holds(uint64(len(m.streams[other]))) {
		return eventstore.AppendResult{Err: &eventstore.WrongExpectedRevision{Stream: other, Expected: r.Other, Events: uint64(len(m.streams[other]))}}
	}
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	for _, data := range r.Events {
		if data.ID == uuid.Nil {
			data.ID = uuid.Must(uuid.NewV7())
		}
		e := eventstore.RecordedEvent{
			EventData: data, Stream: r.Stream, Revision: eventstore.Revision(len(stream)),
			Position: eventstore.Position(len(m.events) + 1), Timeline: m.On.Name, RecordedAt: now().UTC(),
		}
		if n := len(m.events); n > 0 && e.RecordedAt.Before(m.events[n-1].RecordedAt) {
			e.RecordedAt = m.events[n-1].RecordedAt
		}
		m.events, stream = append(m.events, e), append(stream, e.Position)
	}
	m.streams[r.Stream] = stream
	return eventstore.AppendResult{Position: stream[len(stream)-1], Revision: eventstore.Revision(len(stream) - 1)}
}

// retried says whether the events are already where the request would have put them, and the revision of the last.
func (m *Memory) retried(r eventstore.AppendRequest, stream []eventstore.Position) (last int, ok bool) {
	first := len(stream) - len(r.Events)
	if r.Expected.IsNoStream() {
		first = 0
	} else if exact, ok := r.Expected.Exact(); ok {
		first = int(exact) + 1
	}
	if first < 0 || first+len(r.Events) > len(stream) || r.Events[0].ID == uuid.Nil {
		return 0, false
	}
	for i, e := range r.Events {
		if m.events[stream[first+i]-1].ID != e.ID {
			return 0, false
		}
	}
	return first + len(r.Events) - 1, true
}

// snapshot is the list of events so far. It never changes.
func (m *Memory) snapshot() (events []eventstore.RecordedEvent, grown chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, eventstore.ErrClosed
	}
	return m.events[:len(m.events):len(m.events)], m.grown, nil
}

// ReadStream implements eventstore.Store.
func (m *Memory) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return m.read(ctx, opts.Backwards, opts.Limit, func(e *eventstore.RecordedEvent) bool {
		if e.Stream != stream {
			return false
		}
		return opts.Backwards && e.Revision <= opts.From || !opts.Backwards && e.Revision >= opts.From
	})
}

// ReadAll implements eventstore.Store.
func (m *Memory) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return m.read(ctx, opts.Backwards, opts.Limit, func(e *eventstore.RecordedEvent) bool {
		if !opts.Filter.Match(e.Stream, e.Type) {
			return false
		}
		if opts.Backwards {
			return (opts.After == 0 || e.Position < opts.After) && e.Position >= opts.To
		}
		return e.Position > opts.After && (opts.To == 0 || e.Position <= opts.To)
	})
}

func (m *Memory) read(ctx context.Context, backwards bool, limit int, pick func(*eventstore.RecordedEvent) bool) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		events, _, err := m.snapshot()
		if err != nil {
			yield(eventstore.RecordedEvent{}, err)
			return
		}
		if backwards {
			events = slices.Clone(events)
			slices.Reverse(events)
		}
		n := 0
		for i := range events {
			if !pick(&events[i]) {
				continue
			}
			err := ctx.Err()
			n++
			if limit > 0 && n > limit || !yield(events[i], err) || err != nil {
				return
			}
		}
	}
}

// Head implements eventstore.Store.
func (m *Memory) Head(context.Context) (eventstore.Position, error) {
	events, _, err := m.snapshot()
	return eventstore.Position(len(events)), err
}

// Timelines implements eventstore.Store.
func (m *Memory) Timelines() eventstore.Timelines { return m.On }

// Restored is another store with the events up to a position, as a backup of that moment is restored: it goes on
// as the named timeline, and the first event there says so.
func (m *Memory) Restored(timeline string, after eventstore.Position) (*Memory, error) {
	r := NewMemory()
	r.Now, r.Untying, r.On = m.Now, m.Untying, m.On.Fork(timeline, after)
	m.mu.Lock()
	r.events = slices.Clone(m.events[:after])
	m.mu.Unlock()
	for _, e := range r.events {
		r.streams[e.Stream] = append(r.streams[e.Stream], e.Position)
	}
	data, err := domain.Encode(domain.TimelineBegan{Timeline: timeline, Parent: m.On.Name, After: uint64(after), Reason: domain.Restored})
	if err != nil {
		return nil, err
	}
	_, err = r.Append(context.Background(), nil, eventstore.AppendRequest{Stream: eventstore.RegistryStream, Events: []eventstore.EventData{{
		Type: domain.TypeTimelineBegan, Data: data, Metadata: fmt.Appendf(nil, `{"via":"restore","schema":%d}`, domain.SchemaVersion),
	}}})
	return r, err
}

// Close implements eventstore.Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.grown)
	}
	return nil
}

// Subscribe implements eventstore.Store.
func (m *Memory) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	return &memorySubscription{store: m, at: opts.After, filter: opts.Filter, done: make(chan struct{})}, ctx.Err()
}

type memorySubscription struct {
	store  *Memory
	at     eventstore.Position
	filter eventstore.Filter
	done   chan struct{}
	once   sync.Once
}

func (s *memorySubscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, s.at, err
		}
		events, grown, err := s.store.snapshot()
		if err != nil {
			return nil, s.at, err
		}
		var picked []eventstore.RecordedEvent
		for i := int(s.at); i < len(events); i++ {
			if s.filter.Match(events[i].Stream, events[i].Type) {
				picked = append(picked, events[i])
			}
		}
		s.at = max(s.at, eventstore.Position(len(events)))
		if len(picked) > 0 {
			return picked, s.at, nil
		}
		select {
		case <-grown:
		case <-s.done:
			return nil, s.at, eventstore.ErrClosed
		case <-ctx.Done():
		}
	}
}

func (s *memorySubscription) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}
