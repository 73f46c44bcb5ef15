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
