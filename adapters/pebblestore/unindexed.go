package pebblestore

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// fullPart is how many lifecycle events the engine may lack in the index of the streams before they are written there.
const fullPart = 64 << 10

// unindexed is what the engine lacks of the index of the streams: the places of the newest lifecycle events (ADR 177). The names of new
// streams come in no order, so the engine's memory would take each of these keys in microseconds; a table of many takes them sorted.
// After a crash the places are read from the events themselves.
//
// INVARIANT: each place that was applied is in the engine or in a part, and in a part for as long as the engine does not show it. Parts are
// in the order of the log. So the places of a stream in the parts have higher revisions than those that the parts do not have.
type unindexed struct {
	mu    sync.RWMutex
	parts []*part       // oldest first; the committer adds to the last one
	full  int           // events of a part that takes no more
	wake  chan struct{} // has a token when the oldest part takes no more, and is durable
}

// part is some of the places, in the order of the log. It has no pointers that the garbage collector would follow.
type part struct {
	entries []entry
	names   []byte
	newest  map[uint64]uint32 // by the hash of a stream: its newest entry's index
	whole   bool              // it takes no more
}

// entry is the place of one event.
type entry struct {
	name, size uint32 // where the name of the stream is in names
	earlier    uint32 // one more than the index of the entry before of a stream with that hash; 0: there is none
	back       uint32 // how far before the position the key of its value is
	at         eventstore.Position
	revision   eventstore.Revision
}

// newUnindexed lacks nothing. full is how many events a part takes; 0: fullPart.
func newUnindexed(full int) unindexed {
	return unindexed{parts: []*part{newPart()}, full: cmp.Or(full, fullPart), wake: make(chan struct{}, 1)}
}

func newPart() *part { return &part{newest: map[uint64]uint32{}} }

func (p *part) stream(e *entry) []byte { return p.names[e.name : e.name+e.size] }

func (e *entry) place() place { return place{e.at, e.at - eventstore.Position(e.back)} }

// add adds places, in the order of the log.
func (u *unindexed) add(events []indexed) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, i := range events {
		p := u.parts[len(u.parts)-1]
		if p.whole {
			p = newPart()
			u.parts = append(u.parts, p)
		}
		hash := xxhash.Sum64String(string(i.stream))
		e := entry{name: uint32(len(p.names)), size: uint32(len(i.stream)), back: uint32(i.place.at - i.place.key), at: i.place.at, revision: i.revision}
		if earlier, ok := p.newest[hash]; ok {
			e.earlier = earlier + 1
			if before := &p.entries[earlier]; string(p.stream(before)) == string(i.stream) {
				e.name = before.name
			}
		}
		if e.name == uint32(len(p.names)) {
			p.names = append(p.names, i.stream...)
		}
		p.newest[hash] = uint32(len(p.entries))
		p.entries = append(p.entries, e)
		p.whole = len(p.entries) >= u.full
	}
}

// close has the parts be written as they are.
func (u *unindexed) close(durable eventstore.Position) {
	u.mu.Lock()
	newest := u.parts[len(u.parts)-1]
	newest.whole = len(newest.entries) > 0
	u.mu.Unlock()
	u.durable(durable)
}

// of yields the entries of a stream, newest first. REQUIRES: u.mu is held.
func (u *unindexed) of(stream eventstore.StreamName) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		hash := xxhash.Sum64String(string(stream))
		for _, p := range slices.Backward(u.parts) {
			i, ok := p.newest[hash]
			for ok {
				e := &p.entries[i]
				if string(p.stream(e)) == string(stream) && !yield(e) {
					return
				}
				i, ok = e.earlier-1, e.earlier > 0
			}
		}
	}
}

// newest is the newest place of a stream, and the event's revision. ok is false where the engine has all that there is.
func (u *unindexed) newest(stream eventstore.StreamName) (at eventstore.Position, r eventstore.Revision, ok bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	for e := range u.of(stream) {
		return e.at, e.revision, true
	}
	return 0, 0, false
}

// between copies the places of a stream's events from a revision to another one, oldest first. first is the revision from which on the
// engine need not be asked.
func (u *unindexed) between(stream eventstore.StreamName, from, to eventstore.Revision) (places []place, first eventstore.Revision) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	first = eventstore.FromEnd
	for e := range u.of(stream) {
		first = e.revision
		if e.revision < from {
			break
		}
		if e.revision <= to {
			places = append(places, e.place())
		}
	}
	slices.Reverse(places)
	return places, first
}

// under copies the places of the streams whose names begin so.
func (u *unindexed) under(prefix string, into []place) []place {
	u.mu.RLock()
	defer u.mu.RUnlock()
	for _, p := range u.parts {
		for i := range p.entries {
			if e := &p.entries[i]; strings.HasPrefix(string(p.stream(e)), prefix) {
				into = append(into, e.place())
			}
		}
	}
	return into
}

// ripe is the oldest part, if it takes no more and is durable.
func (u *unindexed) ripe(durable eventstore.Position) *part {
	u.mu.RLock()
	defer u.mu.RUnlock()
	if p := u.parts[0]; p.whole && p.last() <= durable {
		return p
	}
	return nil
}

// last is the position of the newest event of a part.
func (p *part) last() eventstore.Position { return p.entries[len(p.entries)-1].at }

// durable wakes the goroutine that writes the index, if it has something to write.
func (u *unindexed) durable(upTo eventstore.Position) {
	if u.ripe(upTo) != nil {
		select {
		case u.wake <- struct{}{}:
		default:
		}
	}
}

// written drops the oldest part, which the engine has now.
func (u *unindexed) written() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.parts = slices.Delete(u.parts, 0, 1); len(u.parts) == 0 {
		u.parts = append(u.parts, newPart())
	}
}

// keys yields the keys and values of the index, sorted. Both are used again for the next ones.
func (p *part) keys() iter.Seq2[[]byte, []byte] {
	order := make([]uint32, len(p.entries))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(i, j uint32) int {
		a, b := &p.entries[i], &p.entries[j]
		return cmp.Or(bytes.Compare(p.stream(a), p.stream(b)), cmp.Compare(a.revision, b.revision))
	})
	return func(yield func([]byte, []byte) bool) {
		var key, value []byte
		for _, i := range order {
			e := &p.entries[i]
			key, value = appendStreamKey(key[:0], text(p.stream(e)), e.revision), e.place().append(value[:0])
			if !yield(key, value) {
				return
			}
		}
	}
}
