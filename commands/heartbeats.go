package commands

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// Heartbeats sends one caller's heartbeats, the command that comes most. It decides as Do does, and
// makes once what Do makes each time. One goroutine at a time may use it.
type Heartbeats struct {
	service  *Service
	caller   Caller
	metadata []byte // of every event
	one      *oneHeartbeat
}

// oneHeartbeat is what a single heartbeat's append is made of.
type oneHeartbeat struct {
	requests [1]eventstore.AppendRequest
	events   [1]eventstore.EventData
	appended [1]eventstore.AppendResult
}

// anyHeartbeat stands for every heartbeat where only a command's kind counts.
var anyHeartbeat domain.Command = domain.SendHeartbeat{}

// Heartbeats makes a sender for a caller.
func (s *Service) Heartbeats(caller Caller) *Heartbeats {
	return &Heartbeats{service: s, caller: caller, metadata: caller.metadata(true)}
}

// Send carries out one heartbeat.
func (h *Heartbeats) Send(ctx context.Context, beat domain.SendHeartbeat) Result {
	if result, known := h.TrySend(ctx, beat); known {
		return result
	}
	return h.service.doOne(ctx, h.caller, Request{Command: beat})
}

// TrySend is Send for an instance that the catalog has as its stream does. If the heartbeat would be refused, or if
// the catalog is behind, which the store finds out, nothing is known and Send is to be asked.
func (h *Heartbeats) TrySend(ctx context.Context, beat domain.SendHeartbeat) (result Result, known bool) {
	entry := h.service.catalog().Find(beat.Key)
	if entry == nil {
		return Result{}, false
	}
	result, received, ok := decideHeartbeat(entry, &beat)
	if !ok {
		return Result{}, false
	}
	if h.one == nil {
		h.one = new(oneHeartbeat)
	}
	h.one.events[0] = h.event(received)
	h.one.requests[0] = appendHeartbeat(entry, beat.Key, h.one.events[:])
	appended, err := h.service.store.Append(ctx, h.one.appended[:0], h.one.requests[:]...)
	if err == nil {
		noteStream(entry, &appended[0])
		level := h.service.awaitUntied(ctx, appended)
		var held bool
		if held, err = h.service.accepted(ctx, entry, &appended[0], level); err == nil && !held {
			return Result{}, false
		}
	} else {
		h.one = nil // the store may hold on to it
	}
	if err != nil {
		result = Result{Err: err}
	} else {
		result.Position = appended[0].Position
	}
	h.service.observe(Outcome{Command: anyHeartbeat, Err: result.Err, Times: 1})
	return result, true
}

// decideHeartbeat answers a heartbeat of an instance in the catalog: all of the result but its position. ok is false
// if the catalog's registration is not the one that the heartbeat is for; whether it is the newest, the stream knows.
func decideHeartbeat(entry *catalog.Entry, beat *domain.SendHeartbeat) (result Result, received domain.HeartbeatReceived, ok bool) {
	live := domain.Instance{Phase: domain.Registered, Epoch: entry.Epoch} // what a heartbeat is decided on
	if beat.Owner != "" {
		if beat.Validate() != nil {
			return result, received, false
		}
		live.Owner = entry.Owner()
	}
	received, err := live.Heartbeat(*beat)
	return Result{Epoch: entry.Epoch, Revision: entry.Revision()}, received, err == nil
}

func (h *Heartbeats) event(received domain.HeartbeatReceived) eventstore.EventData {
	return eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: received.Encode(), Metadata: h.metadata}
}

// Meant is which registration a heartbeat is for, see domain.SendHeartbeat.
type Meant struct {
	Epoch uint64
	Owner string
}

// SendAll carries out many instances' heartbeats with one commit, as DoAll does. It appends the results to into. meant
// has one item for each instance, or none at all where every heartbeat is for whichever registration is live.
func (h *Heartbeats) SendAll(ctx context.Context, instances []domain.Key, meant []Meant, into []Result) []Result {
	m := manyPool.Get().(*manyHeartbeats)
	m.begin(len(instances))
	from := len(into)
	into = append(into, make([]Result, len(instances))...)
	results := into[from:]
	m.entries = h.service.catalog().FindAll(m.entries, instances)
	for i, entry := range m.entries {
		if entry == nil {
			m.rest = append(m.rest, i)
			continue
		}
		if first := m.seen.add(entry, i); first != i {
			results[i].Err = namedTwice(first)
			continue
		}
		beat := heartbeatOf(instances, meant, i)
		result, received, ok := decideHeartbeat(entry, &beat)
		if !ok {
			m.rest = append(m.rest, i)
			continue
		}
		results[i] = result
		m.requests = append(m.requests, appendHeartbeat(entry, instances[i], m.event(h, received)))
		m.sent = append(m.sent, i)
	}
	appended, err := h.service.store.Append(ctx, m.appended[:0], m.requests...)
	level := h.service.awaitUntied(ctx, appended)
	for j, i := range m.sent {
		if err != nil {
			results[i] = Result{Err: err}
			continue
		}
		noteStream(m.entries[i], &appended[j])
		held, lookErr := h.service.accepted(ctx, m.entries[i], &appended[j], level)
		switch {
		case lookErr != nil:
			results[i] = Result{Err: lookErr}
		case held:
			results[i].Position = appended[j].Position
		default:
			m.rest = append(m.rest, i)
		}
	}
	slices.Sort(m.rest)
	h.sendRest(ctx, instances, meant, m.rest, results)
	h.tell(results, m.rest)
	if err == nil { // else the store may hold on to it
		m.appended = appended
		manyPool.Put(m)
	}
	return into
}

// manyHeartbeats is what a batch of heartbeats is worked on in. It is used again: a batch of a thousand
// would leave the collector a quarter of a megabyte.
type manyHeartbeats struct {
	entries  []*catalog.Entry // of the items; nil: it is not in the catalog
	rest     []int            // the items that are not, or not as their streams are
	seen     firsts
	events   []eventstore.EventData
	ofEpoch  [64][]eventstore.EventData // the one of events that is the low epochs'; nil: none yet
	requests []eventstore.AppendRequest
	sent     []int // the items of the requests
	appended []eventstore.AppendResult
}

var manyPool = sync.Pool{New: func() any { return new(manyHeartbeats) }}

func (m *manyHeartbeats) begin(items int) {
	m.events = slices.Grow(m.events[:0], items) // requests point into it: it must not move
	clear(m.ofEpoch[:])
	m.entries, m.rest, m.requests, m.sent = m.entries[:0], m.rest[:0], m.requests[:0], m.sent[:0]
	m.seen.begin(items)
}

// event gives the event of a heartbeat. All that one caller sends in one epoch are the same until the store gives
// them their ids and places, so they are made once.
func (m *manyHeartbeats) event(h *Heartbeats, received domain.HeartbeatReceived) []eventstore.EventData {
	low := received.Epoch < uint64(len(m.ofEpoch))
	if low && m.ofEpoch[received.Epoch] != nil {
		return m.ofEpoch[received.Epoch]
	}
	m.events = append(m.events, h.event(received))
	made := m.events[len(m.events)-1:]
	if low {
		m.ofEpoch[received.Epoch] = made
	}
	return made
}

// appendHeartbeat asks for a heartbeat to be appended while the instance's life is as it is in the entry, by the
// stream's number where that is known.
func appendHeartbeat(entry *catalog.Entry, key domain.Key, event []eventstore.EventData) eventstore.AppendRequest {
	life := eventstore.Unchanged(entry.Events)
	if number := entry.HeartbeatStream(); number != 0 {
		return eventstore.AppendRequest{StreamNumber: number, Other: life, Events: event}
	}
	return eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(key), Other: life, Events: event}
}

func noteStream(entry *catalog.Entry, appended *eventstore.AppendResult) {
	if appended.StreamNumber != 0 && entry.HeartbeatStream() != appended.StreamNumber {
		entry.SetHeartbeatStream(appended.StreamNumber)
	}
}

func heartbeatOf(instances []domain.Key, meant []Meant, i int) domain.SendHeartbeat {
	beat := domain.SendHeartbeat{Key: instances[i]}
	if len(meant) > 0 {
		beat.Epoch, beat.Owner = meant[i].Epoch, meant[i].Owner
	}
	return beat
}

// sendRest sends the heartbeats of instances that are not in the catalog, or not as their streams are.
func (h *Heartbeats) sendRest(ctx context.Context, instances []domain.Key, meant []Meant, rest []int, results []Result) {
	if len(rest) == 0 {
		return
	}
	requests := make([]Request, len(rest))
	for j, i := range rest {
		requests[j].Command = heartbeatOf(instances, meant, i)
	}
	for j, r := range h.service.doAll(ctx, h.caller, requests, func(j int) int { return rest[j] }) {
		results[rest[j]] = r
	}
}

// tell the observer of all results but the rest's.
func (h *Heartbeats) tell(results []Result, rest []int) {
	accepted := 0
	for i := range results {
		if len(rest) > 0 && rest[0] == i {
			rest = rest[1:]
		} else if results[i].Err == nil {
			accepted++
		} else {
			h.service.observe(Outcome{Command: anyHeartbeat, Err: results[i].Err, Times: 1})
		}
	}
	if accepted > 0 {
		h.service.observe(Outcome{Command: anyHeartbeat, Times: accepted})
	}
}

// firsts remembers which item of a batch named an entry first: a map whose size is known before.
type firsts struct {
	places []first
	shift  int
}

type first struct {
	entry *catalog.Entry
	item  int
}

func (f *firsts) begin(items int) {
	log := bits.Len(uint(2 * items))
	f.places, f.shift = slices.Grow(f.places[:0], 1<<log)[:1<<log], 64-log
	clear(f.places)
}

// add gives the item that named the entry first: this one, if none did before.
func (f *firsts) add(e *catalog.Entry, item int) int {
	// An entry's position is its own; the multiplier spreads neighbours (Fibonacci hashing).
	i := int(uint64(e.Position) * 0x9e3779b97f4a7c15 >> f.shift)
	for f.places[i].entry != nil && f.places[i].entry != e {
		i = (i + 1) & (len(f.places) - 1)
	}
	if f.places[i].entry == nil {
		f.places[i] = first{e, item}
	}
	return f.places[i].item
}

func namedTwice(first int) error {
	return domain.InvalidField{Field: "id", Rule: fmt.Sprintf("must not be named twice in a batch; item %d names it already", first)}
}
