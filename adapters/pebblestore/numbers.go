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

// numberedHead is the head of the stream with that number, loaded from disk.
func (s *Store) numberedHead(number uint32) (*head, error) {
	name, err := s.streamOf(number)
	if errors.Is(err, errDamaged) {
		return nil, eventstore.ErrNoStreamNumber
	}
	if err != nil {
		return nil, err
	}
	return s.headOf(name, "", number)
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
