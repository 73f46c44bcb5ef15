package commands

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// Heartbeats sends the heartbeats of one caller. Heartbeats are the most frequent command: this type decides as
// Service.Do does, and allocates once what Do allocates for each command. One goroutine at a time may use a Heartbeats.
type Heartbeats struct {
	service  *Service
	caller   Caller
	metadata []byte         // of every event
	single   *appendBuffers // nil: the next heartbeat needs new buffers
}

// appendBuffers hold the append of a single heartbeat. A Heartbeats uses its buffers again for each heartbeat.
//
// INVARIANT: from the call of Append to its return the store owns the buffers. After a return without an error the
// buffers are the Heartbeats' again. After an error the store may still read the buffers (the append may have timed
// out in a queue), so the Heartbeats drops the buffers and allocates new ones.
type appendBuffers struct {
	requests [1]eventstore.AppendRequest
	events   [1]eventstore.EventData
	appended [1]eventstore.AppendResult
}

// anyHeartbeat is the command of an Outcome: an observer looks at the command's type only.
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

// TrySend carries out a heartbeat that can be decided on the catalog alone. known is false if the heartbeat would be
// refused, or if the catalog is behind the instance's stream, which the append finds out: then nothing was appended
// that counts, and the caller must use Send.
func (h *Heartbeats) TrySend(ctx context.Context, beat domain.SendHeartbeat) (result Result, known bool) {
	seen := h.service.progress.Position() // before the look at the catalog, which then has all events up to there
	entry := h.service.catalog().Find(beat.Key)
	if entry == nil || h.caller.mayWrite(beat.Key) != nil {
		return Result{}, false
	}
	received, ok := decideHeartbeat(entry, &beat, &result)
	if !ok {
		return Result{}, false
	}
	if h.single == nil {
		h.single = new(appendBuffers)
	}
	h.single.events[0] = h.event(received)
	addHeartbeat(h.single.requests[:0], entry, &beat.Key, seen, h.single.events[:])
	appended, err := h.service.store.Append(ctx, h.single.appended[:0], h.single.requests[:]...)
	if err == nil {
		noteStream(entry, &appended[0])
		caughtUp := h.service.awaitUntied(ctx, appended)
		var valid bool
		if valid, err = h.service.accepted(ctx, entry, renewal{}, &appended[0], caughtUp); err == nil && !valid {
			return Result{}, false
		}
	} else {
		h.single = nil // the store may still read the buffers
	}
	if err != nil {
		result = Result{Err: err}
	} else {
		result.Position = appended[0].Position
	}
	h.service.observe(Outcome{Command: anyHeartbeat, Err: result.Err, Times: 1})
	return result, true
}

// unconditional is a heartbeat without a precondition. Its key does not matter to decideHeartbeat.
var unconditional domain.SendHeartbeat

// decideHeartbeat decides a heartbeat on the catalog's entry of the instance. The result, which it fills in place (ADR 149), lacks its
// position. ok is false if the heartbeat's precondition does not fit the entry: then the result is left alone. The stream may have a
// newer registration than the catalog: then the append fails. REQUIRES: the result is zero.
func decideHeartbeat(entry *catalog.Entry, beat *domain.SendHeartbeat, result *Result) (received domain.HeartbeatReceived, ok bool) {
	if entry.Watched() && !entry.Lapsed().IsZero() { // the heartbeat gives back a status
		return received, false
	}
	if beat.Conditional() { // few heartbeats: this spares the others the state of an instance
		if received, ok = decideConditional(entry, beat); !ok {
			return received, false
		}
	} else {
		received.Epoch = entry.Epoch()
	}
	result.Epoch, result.Revision = entry.Epoch(), entry.Revision()
	return received, true
}

// decideConditional is decideHeartbeat of a heartbeat with a precondition.
func decideConditional(entry *catalog.Entry, beat *domain.SendHeartbeat) (received domain.HeartbeatReceived, ok bool) {
	live := domain.Instance{Phase: domain.Registered, Epoch: entry.Epoch()} // the fields that decide a heartbeat
	if beat.Owner != "" && beat.Validate() != nil {
		return received, false
	}
	if beat.Owner != "" || beat.Holder != "" {
		live.Owner = entry.Owner()
	}
	received, err := live.Heartbeat(*beat)
	return received, err == nil
}

func (h *Heartbeats) event(received domain.HeartbeatReceived) eventstore.EventData {
	return eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: received.Encode(), Metadata: h.metadata}
}

// Precondition names the registration that a heartbeat is for, see domain.SendHeartbeat.
type Precondition struct {
	Epoch uint64 // 0: any
	Owner string // "": any

	Holder string // see domain.SendHeartbeat
}

// SendAll carries out the heartbeats of many instances with one commit, as DoAll does, and appends the results to
// into. preconditions has one item for each instance, or is empty if no heartbeat has a precondition.
func (h *Heartbeats) SendAll(ctx context.Context, instances []domain.Key, preconditions []Precondition, into []Result) []Result {
	b := heartbeatBatches.Get().(*heartbeatBatch)
	b.begin(len(instances))
	from := len(into)
	into = append(into, make([]Result, len(instances))...)
	results := into[from:]
	seen := h.service.progress.Position() // see TrySend
	b.entries = h.service.catalog().FindAll(b.entries, instances)
	for i, entry := range b.entries {
		if entry == nil || h.caller.mayWrite(instances[i]) != nil {
			b.undecided = append(b.undecided, i)
			continue
		}
		if first := b.seen.add(entry, i); first != i {
			results[i].Err = namedTwice(first)
			continue
		}
		beat := &unconditional
		if len(preconditions) > 0 {
			conditional := heartbeatOf(instances, preconditions, i)
			beat = &conditional
		}
		received, ok := decideHeartbeat(entry, beat, &results[i])
		if !ok {
			b.undecided = append(b.undecided, i)
			continue
		}
		b.requests = addHeartbeat(b.requests, entry, &instances[i], seen, b.event(h, received))
		b.sent = append(b.sent, i)
	}
	appended, err := h.service.store.Append(ctx, b.appended[:0], b.requests...)
	caughtUp := h.service.awaitUntied(ctx, appended)
	for j, i := range b.sent {
		if err != nil {
			results[i] = Result{Err: err}
			continue
		}
		noteStream(b.entries[i], &appended[j])
		if appended[j].Err == nil && !appended[j].Untied { // every heartbeat, as a rule
			results[i].Position = appended[j].Position
			continue
		}
		valid, lookErr := h.service.accepted(ctx, b.entries[i], renewal{}, &appended[j], caughtUp)
		switch {
		case lookErr != nil:
			results[i] = Result{Err: lookErr}
		case valid:
			results[i].Position = appended[j].Position
		default:
			b.undecided = append(b.undecided, i)
		}
	}
	slices.Sort(b.undecided)
	h.sendUndecided(ctx, instances, preconditions, b.undecided, results)
	h.observe(results, b.undecided)
	if err == nil {
		b.appended = appended
		heartbeatBatches.Put(b)
	}
	return into
}

// heartbeatBatch holds the buffers of one call of SendAll. The pool keeps them for later calls: a batch of a thousand
// heartbeats needs a quarter of a megabyte.
//
// INVARIANT: SendAll owns a batch from Get to Put, but for the time of Append, when the store owns requests, events
// and appended. SendAll puts a batch back only after Append returned without an error: after an error the store may
// still read the buffers, and the batch is left to the garbage collector. Nothing that SendAll returns points into a
// batch. entries and seen keep catalog entries alive until the next call, which costs memory only.
type heartbeatBatch struct {
	entries   []*catalog.Entry // one for each item; nil: the instance is not in the catalog
	undecided []int            // items that the catalog cannot decide, or whose append found the catalog behind
	seen      firstItems
	events    []eventstore.EventData
	ofEpoch   [64][]eventstore.EventData // by epoch, a slice of events with the epoch's event; nil: not made yet
	requests  []eventstore.AppendRequest
	sent      []int // sent[j] is the item of requests[j]
	appended  []eventstore.AppendResult
}

var heartbeatBatches = sync.Pool{New: func() any { return new(heartbeatBatch) }}

func (b *heartbeatBatch) begin(items int) {
	b.events = slices.Grow(b.events[:0], items) // INVARIANT: events does not grow later, for requests point into events
	clear(b.ofEpoch[:])
	b.entries, b.undecided, b.requests, b.sent = b.entries[:0], b.undecided[:0], b.requests[:0], b.sent[:0]
	b.seen.begin(items)
}

// event gives the event of a heartbeat. The events of all heartbeats of one caller and one epoch are equal until the
// store gives each its id and position, so that low epochs share one event.
func (b *heartbeatBatch) event(h *Heartbeats, received domain.HeartbeatReceived) []eventstore.EventData {
	low := received.Epoch < uint64(len(b.ofEpoch))
	if low && b.ofEpoch[received.Epoch] != nil {
		return b.ofEpoch[received.Epoch]
	}
	b.events = append(b.events, h.event(received))
	made := b.events[len(b.events)-1:]
	if low {
		b.ofEpoch[received.Epoch] = made
	}
	return made
}

// addHeartbeat adds the request to append a heartbeat, provided that the instance's lifecycle stream has the
// entry's number of events. The request names the heartbeat stream by its number where the number is known. REQUIRES: the
// catalog in which the entry was found had all events up to seen.
func addHeartbeat(requests []eventstore.AppendRequest, entry *catalog.Entry, key *domain.Key, seen eventstore.Position, event []eventstore.EventData) []eventstore.AppendRequest {
	requests = append(requests, eventstore.AppendRequest{})
	r := &requests[len(requests)-1] // filled in place: a request is large
	r.Other, r.Seen, r.Events = eventstore.Unchanged(entry.Events()), seen, event
	if number := entry.HeartbeatStream(); number != 0 {
		r.StreamNumber, r.Instance = number, *key
	} else {
		r.Stream = eventstore.HeartbeatStream(*key)
	}
	return requests
}

// noteStream keeps the number of the heartbeat stream in the entry, for the next heartbeat.
func noteStream(entry *catalog.Entry, appended *eventstore.AppendResult) {
	if appended.StreamNumber != 0 && entry.HeartbeatStream() != appended.StreamNumber {
		entry.SetHeartbeatStream(appended.StreamNumber)
	}
}

func heartbeatOf(instances []domain.Key, preconditions []Precondition, i int) domain.SendHeartbeat {
	beat := domain.SendHeartbeat{Key: instances[i]}
	if len(preconditions) > 0 {
		beat.Epoch, beat.Owner, beat.Holder = preconditions[i].Epoch, preconditions[i].Owner, preconditions[i].Holder
	}
	return beat
}

// sendUndecided carries out the undecided items, as DoAll does: on the instances' streams where that is needed.
func (h *Heartbeats) sendUndecided(ctx context.Context, instances []domain.Key, preconditions []Precondition, undecided []int, results []Result) {
	if len(undecided) == 0 {
		return
	}
	requests := make([]Request, len(undecided))
	for j, i := range undecided {
		requests[j].Command = heartbeatOf(instances, preconditions, i)
	}
	for j, r := range h.service.doAll(ctx, nil, h.caller, requests, func(j int) int { return undecided[j] }) {
		results[undecided[j]] = r
	}
}

// observe gives the observer all results but those of the undecided items, which doAll has given already.
// undecided is in ascending order.
func (h *Heartbeats) observe(results []Result, undecided []int) {
	accepted := 0
	for i := range results {
		if len(undecided) > 0 && undecided[0] == i {
			undecided = undecided[1:]
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

// firstItems is a hash map from an entry to the first item of the batch that names the entry. The size of the map is
// known in advance, and its memory is used again.
type firstItems struct {
	slots []firstItem // a power of two, more than there are items; linear probing
	shift int         // 64 less the slots' power of two
}

type firstItem struct {
	entry *catalog.Entry // nil: the slot is free
	item  int
}

func (f *firstItems) begin(items int) {
	log := bits.Len(uint(2 * items))
	f.slots, f.shift = slices.Grow(f.slots[:0], 1<<log)[:1<<log], 64-log
	clear(f.slots)
}

// add gives the first item that names the entry: the given item, if no earlier item does.
func (f *firstItems) add(e *catalog.Entry, item int) int {
	// No two entries have the same position. The multiplier spreads near positions over the slots (Fibonacci hashing).
	i := int(uint64(e.Position) * 0x9e3779b97f4a7c15 >> f.shift)
	for f.slots[i].entry != nil && f.slots[i].entry != e {
		i = (i + 1) & (len(f.slots) - 1)
	}
	if f.slots[i].entry == nil {
		f.slots[i] = firstItem{e, item}
	}
	return f.slots[i].item
}

// addCheck is add for an item that names a check of the entry: another check of the same entry is another item.
func (f *firstItems) addCheck(e *catalog.Entry, item int, reports []domain.ReportCheck) int {
	check := reports[item].Check
	i := int((uint64(e.Position) ^ xxhash.Sum64String(check)) * 0x9e3779b97f4a7c15 >> f.shift)
	for f.slots[i].entry != nil && (f.slots[i].entry != e || reports[f.slots[i].item].Check != check) {
		i = (i + 1) & (len(f.slots) - 1)
	}
	if f.slots[i].entry == nil {
		f.slots[i] = firstItem{e, item}
	}
	return f.slots[i].item
}

// namedTwice refuses an item of a batch because the item at index first names the same instance.
func namedTwice(first int) error {
	return domain.InvalidField{Field: "id", Rule: fmt.Sprintf("must not be named twice in a batch; item %d names it already", first)}
}
