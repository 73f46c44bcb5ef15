package pebblestore

import (
	"sync"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// headShard finds some of the heads by their streams. It is a hash table of our own with linear probing, because it holds a
// head in one pointer, where a map would hold the name, too.
//
// INVARIANT: of the slots, a power of two, at most three quarters are used. Between the slot at which the probe for a head
// begins and the head's slot no slot is free.
type headShard struct {
	sync.Mutex
	slots     []*head // nil: the slot is free
	live      int     // slots that are used
	forgotten uint64  // how many heads of the shard were forgotten since the store was opened
}

const leastSlots = 8

// find is the head of a stream; nil: there is none. REQUIRES: the shard is locked.
func (s *headShard) find(hash uint32, stream eventstore.StreamName) *head {
	mask := uint32(len(s.slots) - 1)
	for i := hash & mask; s.slots[i] != nil; i = (i + 1) & mask {
		if h := s.slots[i]; h.hash == hash && h.is(stream) {
			return h
		}
	}
	return nil
}

// add adds a head. REQUIRES: the shard is locked and has no head of that stream.
func (s *headShard) add(h *head) {
	if 4*(s.live+1) > 3*len(s.slots) {
		s.rebuild(2 * len(s.slots))
	}
	s.place(h)
	s.live++
}

func (s *headShard) place(h *head) {
	mask := uint32(len(s.slots) - 1)
	i := h.hash & mask
	for s.slots[i] != nil {
		i = (i + 1) & mask
	}
	s.slots[i] = h
}

// remove removes a head. Heads behind it whose probes would end at the free slot are moved forward. REQUIRES: the shard is
// locked and has the head.
func (s *headShard) remove(h *head) {
	mask := uint32(len(s.slots) - 1)
	free := h.hash & mask
	for s.slots[free] != h {
		free = (free + 1) & mask
	}
	for i := (free + 1) & mask; s.slots[i] != nil; i = (i + 1) & mask {
		if begin := s.slots[i].hash & mask; (i-begin)&mask >= (i-free)&mask {
			s.slots[free] = s.slots[i]
			free = i
		}
	}
	s.slots[free] = nil
	s.live--
}

// shrink gives memory back when few heads are left of those that there were. REQUIRES: the shard is locked.
func (s *headShard) shrink() {
	if size := len(s.slots); size > 64 && 16*s.live < size {
		s.rebuild(max(size/8, leastSlots))
	}
}

// rebuild makes a table of a size, which is a power of two. REQUIRES: at most three quarters of the slots will be used.
func (s *headShard) rebuild(size int) {
	was := s.slots
	s.slots = make([]*head, size)
	for _, h := range was {
		if h != nil {
			s.place(h)
		}
	}
}
