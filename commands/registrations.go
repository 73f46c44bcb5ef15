package commands

import (
	"context"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// anyRegistration is the command of an Outcome: an observer looks at the command's type only.
var anyRegistration domain.Command = domain.RegisterInstance{}

// Register carries out one registration, as Do does. kept is as for RegisterAll.
func (s *Service) Register(ctx context.Context, caller Caller, registration domain.RegisterInstance) (result Result, kept bool) {
	b := registrationBatches.Get().(*registrationBatch)
	b.only[0] = registration
	results, kept := s.registerAll(ctx, b, b.alone[:0], &caller, b.only[:])
	result = results[0]
	if !b.lent {
		b.only[0], b.alone[0] = domain.RegisterInstance{}, Result{}
		registrationBatches.Put(b)
	}
	return result, kept
}

// RegisterAll carries out registrations as DoAll does, and appends their results to into. A batch whose instances are all new to the catalog,
// as those of an import or of the start of a fleet, takes no memory that a command, a task or a list of events would take.
//
// kept says whether something may use the memory of the registrations' texts after the return. If not, the caller may overwrite it.
func (s *Service) RegisterAll(ctx context.Context, into []Result, caller Caller, registrations []domain.RegisterInstance) (results []Result, kept bool) {
	b := registrationBatches.Get().(*registrationBatch)
	results, kept = s.registerAll(ctx, b, into, &caller, registrations)
	if !b.lent {
		registrationBatches.Put(b)
	}
	return results, kept
}

func (s *Service) registerAll(ctx context.Context, b *registrationBatch, into []Result, caller *Caller, registrations []domain.RegisterInstance) (_ []Result, kept bool) {
	b.begin(len(registrations))
	for i := range registrations {
		b.keys = append(b.keys, registrations[i].Key)
	}
	from := len(into)
	into = append(into, make([]Result, len(registrations))...)
	results := into[from:]
	b.entries = s.catalog().FindAll(b.entries, b.keys)
	if len(registrations) > 1 {
		b.metadata = caller.metadata(false)
	}
	refused := 0
	for i := range registrations {
		r := &registrations[i]
		registered, ok := r.Begin()
		if !ok || b.entries[i] != nil { // the events are to have the order of the items
			b.end()
			return s.doAll(ctx, into[:from], *caller, requestsOf(registrations, nil), func(i int) int { return i }), true
		}
		if first := b.seen.add(b.keys, i); first != i {
			results[i].Err = namedTwice(first)
		}
		if !b.add(i, r, &registered, caller, &results[i]) {
			refused++
		}
	}
	if refused > 0 {
		s.observeRefused(results)
	}
	changed := s.appendBegun(ctx, b, results)
	if kept = len(b.behind) > 0; kept {
		for j, r := range s.doAll(ctx, nil, *caller, requestsOf(registrations, b.behind), func(j int) int { return b.behind[j] }) {
			results[b.behind[j]] = r
		}
	}
	if changed > 0 {
		// The events are durable: the commands have succeeded, also if the caller's context ends during the wait.
		_ = s.progress.WaitFor(ctx, changed)
	}
	b.end()
	return into, kept
}

// observeRefused gives the observer the results of those that were refused.
func (s *Service) observeRefused(results []Result) {
	for i := range results {
		if err := results[i].Err; err != nil {
			s.observe(Outcome{Command: anyRegistration, Err: err, Times: 1})
		}
	}
}

// requestsOf makes requests of some of the registrations; nil: of all.
func requestsOf(registrations []domain.RegisterInstance, some []int) []Request {
	if some == nil {
		requests := make([]Request, len(registrations))
		for i := range registrations {
			requests[i].Command = registrations[i]
		}
		return requests
	}
	requests := make([]Request, len(some))
	for j, i := range some {
		requests[j].Command = registrations[i]
	}
	return requests
}

// appendBegun appends the events of the batch, and completes the results. Those whose streams have events of which the catalog does not
// know are left to be decided on their streams. changed is the newest position; 0: there is none.
func (s *Service) appendBegun(ctx context.Context, b *registrationBatch, results []Result) (changed eventstore.Position) {
	if len(b.requests) == 0 {
		return 0
	}
	b.lent = true
	appended, err := s.store.Append(ctx, b.appended[:0], b.requests...)
	if err == nil {
		b.appended, b.lent = appended, false
	}
	done := 0
	for j, i := range b.sent {
		switch {
		case err != nil:
			results[i] = Result{Err: err}
			s.observe(Outcome{Command: anyRegistration, Err: err, Times: 1})
		case appended[j].Err != nil:
			b.behind = append(b.behind, i)
		default:
			results[i].Position, results[i].Revision = appended[j].Position, uint64(appended[j].Revision)
			changed = max(changed, appended[j].Position)
			done++
		}
	}
	if done > 0 {
		s.observe(Outcome{Command: anyRegistration, Times: done})
	}
	return changed
}

// registrationBatch holds the buffers of one call of Register or RegisterAll. The pool keeps them for later calls.
//
// INVARIANT: as for work: a call owns the buffers from Get to end, but for the time of Append, when the store owns requests, events and
// appended. After an error of Append the buffers are left to the garbage collector. Events keep the memory of texts.
type registrationBatch struct {
	keys     []domain.Key
	entries  []*catalog.Entry // one for each item; nil: the instance is not in the catalog
	seen     firstKeys
	texts    texts
	events   []eventstore.EventData
	requests []eventstore.AppendRequest
	sent     []int  // sent[j] is the item of requests[j]
	metadata []byte // of the events of several registrations, which share it; nil: there is one registration
	appended []eventstore.AppendResult
	behind   []int // items whose append found the catalog behind, in their order
	lent     bool  // an append is under way, or has failed

	results []Result // of TryRegisterMany

	only  [1]domain.RegisterInstance // the registration of Register
	alone [1]Result                  // and its result
}

var registrationBatches = sync.Pool{New: func() any { return new(registrationBatch) }}

// begin makes room for registrations. Their keys are to be added.
func (b *registrationBatch) begin(registrations int) {
	b.keys, b.events = slices.Grow(b.keys, registrations), slices.Grow(b.events, registrations)
	b.requests, b.sent = slices.Grow(b.requests, registrations), slices.Grow(b.sent, registrations)
	b.seen.begin(registrations)
	b.texts.begin(registrations)
}

// add adds a registration of an instance that is not in the catalog, which begins with the event e, or refuses it: whatever its stream
// has. A result with an error is refused already. REQUIRES: begin was told of at least as many registrations, for requests point into events.
func (b *registrationBatch) add(item int, r *domain.RegisterInstance, e *domain.InstanceRegistered, caller *Caller, result *Result) (added bool) {
	if result.Err == nil {
		result.Err = caller.mayWrite(r.Key)
	}
	if result.Err == nil {
		result.Err = r.Validate()
	}
	if result.Err != nil {
		return false
	}
	*result = Result{Epoch: e.Epoch, Created: true, Outcome: RegistrationCreated}
	b.request(item, r.Key, e, caller)
	return true
}

// request adds the request to append the event with which an instance begins.
func (b *registrationBatch) request(item int, key domain.Key, e *domain.InstanceRegistered, caller *Caller) {
	written := eventstore.AppendLifecycleStream(b.texts.scratch[:0], key)
	name := len(written)
	written, err := e.AppendEncoded(written)
	data := len(written)
	metadata := b.metadata
	if metadata == nil { // it shares the memory of the event's text
		written = caller.appendMetadata(written, false)
	}
	if written = b.texts.keep(written, err); metadata == nil {
		metadata = written[data:]
	}
	b.events = append(b.events, eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: written[name:data:data], Metadata: metadata})
	last := len(b.events) - 1
	b.requests = append(b.requests, eventstore.AppendRequest{
		Stream: streamIn(written[:name]), Expected: eventstore.NoStream(), Events: b.events[last : last+1 : last+1],
	})
	b.sent = append(b.sent, item)
}

// streamIn is a name whose memory is a text's. REQUIRES: nobody changes the text.
func streamIn(text []byte) eventstore.StreamName {
	return eventstore.StreamName(unsafe.String(unsafe.SliceData(text), len(text)))
}

// end makes the buffers ready for the next call. What they point to is not kept.
func (b *registrationBatch) end() {
	clear(b.keys)
	clear(b.entries)
	clear(b.results)
	b.results = b.results[:0]
	b.keys, b.entries, b.behind, b.sent = b.keys[:0], b.entries[:0], b.behind[:0], b.sent[:0]
	b.metadata = nil
	b.texts.end()
	if !b.lent {
		clear(b.events)
		clear(b.requests)
		b.events, b.requests, b.appended = b.events[:0], b.requests[:0], b.appended[:0]
	}
}

// firstKeys is a hash map from a key to the first item of the batch that has it. Its size is known in advance, and its memory is used
// again. A batch of one item needs none.
type firstKeys struct {
	seed  maphash.Seed
	slots []uint64 // the upper half of the key's hash, and one more than the item; 0: the slot is free
	shift int      // 64 less the slots' power of two
}

func (f *firstKeys) begin(items int) {
	f.slots = f.slots[:0]
	if items == 1 {
		return
	}
	if f.seed == (maphash.Seed{}) {
		f.seed = maphash.MakeSeed()
	}
	log := bits.Len(uint(2 * items))
	f.slots, f.shift = slices.Grow(f.slots, 1<<log)[:1<<log], 64-log
	clear(f.slots)
}

// add gives the first item that has the key of the item: the item, if no earlier one has it.
func (f *firstKeys) add(keys []domain.Key, item int) int {
	if len(f.slots) == 0 {
		return item
	}
	key := &keys[item]
	hash := maphash.String(f.seed, key.ID)
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	hash = (hash*odd+maphash.String(f.seed, key.Service))*odd + maphash.String(f.seed, key.Namespace)
	i := int(hash * odd >> f.shift)
	for ; f.slots[i] != 0; i = (i + 1) & (len(f.slots) - 1) {
		if first := int(uint32(f.slots[i])) - 1; f.slots[i]>>32 == hash>>32 && keys[first] == *key {
			return first
		}
	}
	f.slots[i] = hash>>32<<32 | uint64(item+1)
	return item
}
