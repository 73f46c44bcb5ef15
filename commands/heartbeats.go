package commands

import (
	"context"
	"fmt"
	"math/bits"
	"strings"

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

// TrySend is Send for an instance that is in the catalog. If it is not, because it is unknown or so new
// that only its stream knows, nothing is done.
func (h *Heartbeats) TrySend(ctx context.Context, beat domain.SendHeartbeat) (result Result, known bool) {
	entry := h.service.catalog().Find(beat.Key)
	if entry == nil {
		return Result{}, false
	}
	result, event := h.decide(entry, beat)
	if result.Err == nil {
		if h.one == nil {
			h.one = new(oneHeartbeat)
		}
		h.one.events[0] = event
		h.one.requests[0] = eventstore.AppendRequest{Stream: eventstore.HeartbeatStream(beat.Key), Events: h.one.events[:]}
		appended, err := h.service.store.Append(ctx, h.one.requests[:]...)
		if err != nil {
			result = Result{Err: err}
			h.one = nil // the store may hold on to it
		} else {
			result.Position = appended[0].Position
		}
	}
	h.service.observe(Outcome{Command: anyHeartbeat, Err: result.Err, Times: 1})
	return result, true
}

// decide answers a heartbeat of an instance in the catalog: all of the result but its position.
func (h *Heartbeats) decide(entry *catalog.Entry, beat domain.SendHeartbeat) (Result, eventstore.EventData) {
	received, err := shortState(entry).Heartbeat(beat)
	if err != nil {
		return Result{Err: err}, eventstore.EventData{}
	}
	return Result{Epoch: entry.Epoch, Revision: entry.Revision()}, eventstore.EventData{
		Type: domain.TypeHeartbeatReceived, Data: received.Encode(), Metadata: h.metadata,
	}
}

// SendAll carries out many heartbeats with one commit, as DoAll does.
func (h *Heartbeats) SendAll(ctx context.Context, beats []domain.SendHeartbeat) []Result {
	results := make([]Result, len(beats))
	events := make([]eventstore.EventData, 0, len(beats))
	requests := make([]eventstore.AppendRequest, 0, len(beats))
	of := make([]int32, 0, len(beats)) // the beats of requests
	seen := newFirsts(len(beats))      // those in the catalog
	var rest []int                     // the others
	var names strings.Builder          // of the streams, in one piece of memory
	names.Grow(len(beats) * (len(eventstore.HeartbeatPrefix) + 40))
	for i := range beats {
		entry := h.service.catalog().Find(beats[i].Key)
		if entry == nil {
			rest = append(rest, i)
			continue
		}
		if first := seen.add(entry, i); first != i {
			results[i].Err = namedTwice(first)
			continue
		}
		result, event := h.decide(entry, beats[i])
		if results[i] = result; result.Err != nil {
			continue
		}
		from := names.Len()
		names.WriteString(eventstore.HeartbeatPrefix)
		names.WriteString(beats[i].Key.Namespace)
		names.WriteByte('/')
		names.WriteString(beats[i].Key.Service)
		names.WriteByte('/')
		names.WriteString(beats[i].Key.ID)
		events = append(events, event)
		requests = append(requests, eventstore.AppendRequest{Stream: eventstore.StreamName(names.String()[from:]), Events: events[len(events)-1:]})
		of = append(of, int32(i))
	}
	appended, err := h.service.store.Append(ctx, requests...)
	for j, i := range of {
		if err != nil {
			results[i] = Result{Err: err}
		} else {
			results[i].Position = appended[j].Position
		}
	}
	h.sendRest(ctx, beats, rest, results)
	h.tell(results, rest)
	return results
}

// sendRest sends the heartbeats of instances that are not in the catalog.
func (h *Heartbeats) sendRest(ctx context.Context, beats []domain.SendHeartbeat, rest []int, results []Result) {
	if len(rest) == 0 {
		return
	}
	requests := make([]Request, len(rest))
	for j, i := range rest {
		requests[j].Command = beats[i]
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

// firsts remembers which item of a batch named an entry first: a map that is never grown or shrunk.
type firsts struct {
	places []first
	shift  int
}

type first struct {
	entry *catalog.Entry
	item  int
}

func newFirsts(items int) firsts {
	log := bits.Len(uint(2 * items))
	return firsts{places: make([]first, 1<<log), shift: 64 - log}
}

// add gives the item that named the entry first: this one, if none did before.
func (f firsts) add(e *catalog.Entry, item int) int {
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
