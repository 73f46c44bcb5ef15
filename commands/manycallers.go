package commands

import (
	"context"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// CallersHeartbeat is a heartbeat of one of many callers.
type CallersHeartbeat struct {
	By     *Heartbeats // of the caller
	Key    domain.Key
	Holder string // see domain.SendHeartbeat
}

// Tried is the result of a heartbeat of TrySendMany. Known is as for Heartbeats.TrySend.
type Tried struct {
	Result
	Known bool
}

// TrySendMany does what Heartbeats.TrySend does for heartbeats of many callers, with one append for all. It appends to into a
// result for each heartbeat. Several heartbeats may be for one instance.
func (s *Service) TrySendMany(ctx context.Context, beats []CallersHeartbeat, into []Tried) []Tried {
	from := len(into)
	into = append(into, make([]Tried, len(beats))...)
	tried := into[from:]
	m := manyBuffersPool.Get().(*manyBuffers)
	m.begin(beats)
	seen := s.progress.Position() // see TrySend
	m.entries = s.catalog().FindAll(m.entries, m.keys)
	for i, entry := range m.entries {
		by := beats[i].By
		if entry == nil || by.caller.mayWrite(beats[i].Key) != nil {
			continue
		}
		received, ok := decideHeartbeat(entry, &domain.SendHeartbeat{Key: beats[i].Key, Holder: beats[i].Holder}, &tried[i].Result)
		if !ok {
			continue
		}
		tried[i].Known = true
		m.events = append(m.events, by.event(received))
		m.requests = addHeartbeat(m.requests, entry, &m.keys[i], seen, m.events[len(m.events)-1:])
		m.sent = append(m.sent, i)
	}
	if len(m.requests) == 0 {
		m.end()
		return into
	}
	appended, err := s.store.Append(ctx, m.appended[:0], m.requests...)
	caughtUp := s.awaitUntied(ctx, appended)
	accepted := 0
	for j, i := range m.sent {
		valid, failure := true, err
		if err == nil {
			noteStream(m.entries[i], &appended[j])
			valid, failure = s.accepted(ctx, m.entries[i], renewal{}, &appended[j], caughtUp)
		}
		switch {
		case failure != nil:
			tried[i].Result = Result{Err: failure}
			s.observe(Outcome{Command: anyHeartbeat, Err: failure, Times: 1})
		case valid:
			tried[i].Position = appended[j].Position
			accepted++
		default:
			tried[i] = Tried{}
		}
	}
	if accepted > 0 {
		s.observe(Outcome{Command: anyHeartbeat, Times: accepted})
	}
	if err == nil {
		m.appended = appended
		m.end()
	}
	return into
}

// CallersRegistration is a registration of one of many callers.
type CallersRegistration struct {
	By Caller
	domain.RegisterInstance
}

// TryRegisterMany carries out registrations of many callers as Do does, with one append for all whose instances are new. It appends to into
// a result for each. Of several for one instance only the first is Known: the caller must carry out the others by themselves.
func (s *Service) TryRegisterMany(ctx context.Context, many []CallersRegistration, into []Tried) []Tried {
	from := len(into)
	into = append(into, make([]Tried, len(many))...)
	tried := into[from:]
	b := registrationBatches.Get().(*registrationBatch)
	b.begin(len(many))
	for i := range many {
		b.keys = append(b.keys, many[i].Key)
	}
	b.entries = s.catalog().FindAll(b.entries, b.keys)
	b.results = append(b.results, make([]Result, len(many))...)
	allNew := true
	for i := range many {
		tried[i].Known = b.seen.add(b.keys, i) == i
		allNew = allNew && b.entries[i] == nil
	}
	refused := 0
	for i := range many {
		if !tried[i].Known {
			continue
		}
		if !allNew { // one append for all is worth more than the way of new instances
			b.behind = append(b.behind, i)
			continue
		}
		r := &many[i].RegisterInstance
		if registered, ok := r.Begin(); !ok {
			b.behind = append(b.behind, i)
		} else if !b.add(i, r, &registered, &many[i].By, &b.results[i]) {
			refused++
		}
	}
	if refused > 0 {
		s.observeRefused(b.results)
	}
	changed := s.appendBegun(ctx, b, b.results)
	for i := range many {
		tried[i].Result = b.results[i]
	}
	if len(b.behind) > 0 {
		s.doMany(ctx, many, b.behind, tried)
	}
	if changed > 0 {
		_ = s.progress.WaitFor(ctx, changed) // see registerAll
	}
	b.end()
	if !b.lent {
		registrationBatches.Put(b)
	}
	return into
}

// doMany carries out some of many registrations as tasks.
func (s *Service) doMany(ctx context.Context, many []CallersRegistration, some []int, tried []Tried) {
	w := beginWork(len(some))
	defer w.end()
	for j, i := range some {
		w.callers = append(w.callers, many[i].By)
		w.tasks[j].Command, w.tasks[j].by = many[i].RegisterInstance, int32(j)
	}
	s.do(ctx, w, w.tasks)
	for j, i := range some {
		tried[i].Result = w.tasks[j].Result
	}
}

// manyBuffers hold one append of TrySendMany.
//
// INVARIANT: as for heartbeatBatch: TrySendMany owns the buffers from Get to end, but for the time of Append, when the store owns
// requests, events and appended. After an error of Append the buffers are left to the garbage collector.
type manyBuffers struct {
	keys     []domain.Key
	entries  []*catalog.Entry // one for each heartbeat; nil: the instance is not in the catalog
	events   []eventstore.EventData
	requests []eventstore.AppendRequest
	sent     []int // sent[j] is the heartbeat of requests[j]
	appended []eventstore.AppendResult
}

var manyBuffersPool = sync.Pool{New: func() any { return new(manyBuffers) }}

func (m *manyBuffers) begin(beats []CallersHeartbeat) {
	if cap(m.events) < len(beats) { // INVARIANT: events does not grow later, for requests point into events
		m.events = make([]eventstore.EventData, 0, len(beats))
	}
	for i := range beats {
		m.keys = append(m.keys, beats[i].Key)
	}
}

// end gives the buffers back. What they point to is not kept.
func (m *manyBuffers) end() {
	clear(m.keys)
	clear(m.entries)
	clear(m.events)
	clear(m.requests)
	m.keys, m.entries, m.events, m.requests, m.sent = m.keys[:0], m.entries[:0], m.events[:0], m.requests[:0], m.sent[:0]
	manyBuffersPool.Put(m)
}
