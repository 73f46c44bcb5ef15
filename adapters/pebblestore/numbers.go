package pebblestore

import (
	"errors"
	"sync"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// numbers gives the heartbeat streams by their numbers: the heads that are kept, and names that readers asked for.
type numbers struct {
	sync.RWMutex
	heads sparse.List[head]
	quiet quiet
	// names are those that were asked for last, up to twice keptNames.
	names, older map[uint32]eventstore.StreamName
}

// keptNames is how many names are kept of streams whose heads are not.
const keptNames = 16 << 10

// find gives the heads of the requests that name their stream by its number, as far as they are kept. names is how many
// bytes the events of these requests have in names.
func (n *numbers) find(requests []eventstore.AppendRequest, heads []*head) (names int) {
	n.RLock()
	defer n.RUnlock()
	for i := range requests {
		if number := requests[i].StreamNumber; number != 0 {
			if heads[i] = n.heads.At(number); heads[i] != nil {
				names += len(heads[i].name) * len(requests[i].Events)
			}
		}
	}
	return names
}

// set notes which head a number stands for.
func (n *numbers) set(number uint32, h *head) {
	n.Lock()
	defer n.Unlock()
	n.heads.Set(number, h)
}

// quieten keeps a head that is forgotten as a quiet one, if the head may be quiet.
func (n *numbers) quieten(h *head, cycle uint32) {
	n.Lock()
	defer n.Unlock()
	n.heads.Set(h.number, nil)
	if h.mayBeQuiet() {
		n.quiet.put(h, cycle)
	}
}

// isQuiet says whether the head of a stream is a quiet one. hash is that of the stream, see heads.shard; 0: not known.
func (n *numbers) isQuiet(number, hash uint32) bool {
	n.RLock()
	defer n.RUnlock()
	kept := n.quiet.at(number)
	return kept != nil && kept.last != 0 && (hash == 0 || hash == kept.hash)
}

// wake makes the quiet head of a number the head that the number stands for. false: there is no quiet head.
func (n *numbers) wake(h *head) bool {
	n.Lock()
	defer n.Unlock()
	if !n.quiet.take(h) {
		return false
	}
	n.heads.Set(h.number, h)
	return true
}

// recovered keeps a quiet head that a start has computed. The head is in the queue of unsaved. known says that it was there before.
func (n *numbers) recovered(h *head) (known bool) {
	n.Lock()
	defer n.Unlock()
	kept := n.quiet.at(h.number)
	known = kept != nil && kept.last != 0
	n.quiet.put(h, 0)
	return known
}

// unqueue says what the disk is to have of a stream whose head was in the queue of unsaved. REQUIRES: the committer calls it, for a
// number in the queue.
func (n *numbers) unqueue(number uint32) (events uint64, last eventstore.Position) {
	n.Lock()
	defer n.Unlock()
	if h := n.heads.At(number); h != nil {
		h.queued = false
		return h.events, h.last
	}
	kept := n.quiet.at(number)
	kept.last &^= 1
	return uint64(kept.events), kept.position()
}

// thin forgets quiet heads that were not needed for long, see quiet.thin.
func (n *numbers) thin(part, parts int, upTo, cycle uint32) {
	n.Lock()
	defer n.Unlock()
	n.quiet.thin(part, parts, upTo, cycle)
}

// name is the name of a stream, if it is known; "": it is not.
func (n *numbers) name(number uint32) eventstore.StreamName {
	n.RLock()
	defer n.RUnlock()
	if h := n.heads.At(number); h != nil {
		return h.stream()
	}
	if name, ok := n.names[number]; ok {
		return name
	}
	return n.older[number]
}

func (n *numbers) keepName(number uint32, name eventstore.StreamName) {
	n.Lock()
	defer n.Unlock()
	if n.names == nil || len(n.names) == keptNames {
		n.names, n.older = make(map[uint32]eventstore.StreamName), n.names
	}
	n.names[number] = name
}

// numberedHead is the head of the stream whose number a request names, and which is not in the table.
func (s *Store) numberedHead(r *eventstore.AppendRequest) (*head, error) {
	if r.Instance.ID != "" {
		name := eventstore.HeartbeatStream(r.Instance)
		if _, hash := s.heads.shard(name); hash != 0 && s.numbers.isQuiet(r.StreamNumber, hash) {
			return s.headOf(name, string(name), r.StreamNumber)
		}
	}
	name, err := s.streamOf(r.StreamNumber)
	if errors.Is(err, errDamaged) {
		return nil, eventstore.ErrNoStreamNumber
	}
	if err != nil {
		return nil, err
	}
	return s.headOf(name, "", r.StreamNumber)
}

// streamOf is the name of the heartbeat stream with that number.
func (s *Store) streamOf(number uint32) (eventstore.StreamName, error) {
	if name := s.numbers.name(number); name != "" {
		return name, nil
	}
	if err := s.enter(); err != nil {
		return "", err
	}
	defer s.leave()
	v, err := s.get(number32(rangeName, number))
	if err != nil {
		return "", err
	}
	if v == nil {
		return "", errDamaged
	}
	name := eventstore.StreamName(v)
	s.numbers.keepName(number, name)
	return name, nil
}
