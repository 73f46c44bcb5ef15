package commands

import (
	"slices"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// work holds the buffers of one call of Do or DoAll. The pool keeps them for later calls: a batch of a thousand registrations
// needs a megabyte.
//
// INVARIANT: a call owns its work from beginWork to end, but for the time of an Append, when the store owns requests, events and
// results. After an error of Append the store may still read them, and the work is left to the garbage collector. Events keep the
// memory of texts and of metadata for as long as they live, so that memory is not used again.
type work struct {
	callers  []Caller // of the tasks
	tasks    []task
	seen     map[target]int // index of the first task for a target
	requests []eventstore.AppendRequest
	events   []eventstore.EventData // of requests
	results  []eventstore.AppendResult
	metadata metadata
	texts    texts
	lent     bool // an append is under way, or has failed
}

var works = sync.Pool{New: func() any { return new(work) }}

// beginWork makes work of tasks. Their callers are to be added: without another word, all tasks are of the first one.
func beginWork(tasks int) *work {
	w := works.Get().(*work)
	w.tasks = slices.Grow(w.tasks, tasks)[:tasks]
	w.texts.begin(tasks)
	return w
}

// caller is a task's caller.
func (w *work) caller(t *task) *Caller { return &w.callers[t.by] }

// end gives the buffers back. What they point to is not kept.
func (w *work) end() {
	if w.lent {
		return
	}
	for i := range w.tasks {
		w.tasks[i].reset()
	}
	clear(w.seen)
	w.attempt()
	clear(w.callers)
	w.callers, w.tasks, w.metadata = w.callers[:0], w.tasks[:0], metadata{}
	w.texts.end()
	works.Put(w)
}

// attempt makes the buffers of an append ready for the next one.
func (w *work) attempt() {
	if w.lent {
		w.requests, w.events, w.results = nil, nil, nil
	}
	clear(w.requests)
	clear(w.events)
	w.requests, w.events, w.results = w.requests[:0], w.events[:0], w.results[:0]
	w.requests = slices.Grow(w.requests, len(w.tasks))
}

// fill fills the tasks, and refuses those whose target an earlier one has. It gives the indexes of the others. again says
// that an instance has several.
func (w *work) fill(requests []Request, item func(int) int) (left []int, again bool) {
	if w.seen == nil {
		w.seen = make(map[target]int, len(requests))
	}
	left = make([]int, 0, len(requests))
	for i, r := range requests {
		w.tasks[i].Request = r
		of := targetOf(r.Command)
		first, twice := w.seen[of]
		whole := target{key: of.key}
		if of != whole {
			if first, several := w.seen[whole]; several && !twice { // of the instance, or of another of its checks
				again = true
				twice = targetOf(requests[first].Command) == whole
			} else if !several {
				w.seen[whole] = i
			}
		}
		if twice {
			w.tasks[i].Err, w.tasks[i].done = namedTwice(item(first)), true
			continue
		}
		w.seen[of] = i
		left = append(left, i)
	}
	return left, again
}

// eventData gives memory for the events of a request. Earlier requests keep theirs.
func (w *work) eventData(n int) []eventstore.EventData {
	if n > cap(w.events)-len(w.events) {
		w.events = make([]eventstore.EventData, 0, max(n, len(w.tasks)))
	}
	begin := len(w.events)
	w.events = w.events[:begin+n]
	return w.events[begin : begin+n : begin+n]
}

// encode is the stored form of an event, in memory that is only its own.
func (w *work) encode(e domain.Event) []byte {
	if beat, ok := e.(domain.HeartbeatReceived); ok {
		return beat.Encode()
	}
	return w.texts.keep(domain.AppendEncoded(w.texts.scratch[:0], e))
}

// encodeRegistered is encode, without memory for the event.
func (w *work) encodeRegistered(e *domain.InstanceRegistered) []byte {
	return w.texts.keep(e.AppendEncoded(w.texts.scratch[:0]))
}
