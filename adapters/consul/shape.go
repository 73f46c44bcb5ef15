package consul

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// shape is the instances of a name with their nodes, at one moment. It never changes.
type shape struct {
	serial uint64 // no other shape has it
	group  *queries.Group
	nodes  *nodeTable
	all    []shown
	index  atomic.Uint64 // of the newest change to the instances or to their nodes; 0: not marked yet

	// near tells the nodes that the instances are at and that are known, at their positions; 0: there are none.
	near uint64

	whole, wholePassing struct { // the replies to requests that ask for all of it, made once
		once sync.Once
		reply
	}
}

// newestShape is the newest shape of a group. A group keeps it.
type newestShape struct {
	mu sync.Mutex
	*shape
}

// shape is the instances of a name in lower case, as they are now; nil: there are none.
func (f *face) shape(namespace, lower string) *shape {
	for {
		nodes := f.nodes(namespace)
		group := f.directory.Find(namespace, lower)
		if group == nil || lower == nodeService && len(f.showGroup(group)) == 0 {
			f.marks.forget(agentID{namespace: namespace, id: lower})
			return nil
		}
		// INVARIANT: the nodes did not change while the group was looked up, so that the shape has every change up to its index.
		if f.nodes(namespace).group != nodes.group {
			continue
		}
		if s := f.shapeOf(group, nodes); f.mark(namespace, lower, s) {
			return s
		}
	}
}

func (f *face) shapeOf(group *queries.Group, nodes *nodeTable) *shape {
	newest := group.Value("consul shape", func() any { return new(newestShape) }).(*newestShape)
	newest.mu.Lock()
	defer newest.mu.Unlock()
	if s := newest.shape; s != nil && s.nodes.group == nodes.group {
		return s
	}
	s := &shape{serial: f.serials.Add(1), group: group, nodes: nodes, all: f.showGroup(group)}
	if len(nodes.byName) > 0 {
		s.join()
	}
	newest.shape = s
	return s
}

// join gives the instances what is known of their nodes.
func (s *shape) join() {
	var near []string
	joined := slices.Clone(s.all)
	for i := range joined {
		if n := s.nodes.byName[joined[i].entry.Node.Node]; n != nil {
			joined[i] = joined[i].at(n)
			near = append(near, strconv.FormatUint(indexOf(n.place.Changed), 10))
		}
	}
	if near == nil {
		return
	}
	s.all = joined
	slices.Sort(near)
	s.near = max(xxhash.Sum64String(strings.Join(slices.Compact(near), " ")), 1)
}

// mark is what was said last of a name whose instances are at nodes that are known.
type mark struct {
	near  uint64 // see shape
	at    uint64 // of the nodes
	index uint64
}

// marks are the marks of the names whose instances are, or were, at nodes that are known.
type marks struct {
	mu  sync.Mutex
	all map[agentID]mark
}

// forget forgets the mark of a name without instances: its index is that of its last removal.
func (m *marks) forget(name agentID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, name)
}

// mark gives a shape its index; false: the shape is older than another one that has been marked. The index of a name grows when
// a node of its instances changes, and does not fall when a node is not known any more.
//
// INVARIANT: an index that was given for other nodes is below the position of the change that made them others, so that the
// next number is not above it.
func (f *face) mark(namespace, lower string, s *shape) bool {
	if s.index.Load() > 0 {
		return true
	}
	f.marks.mu.Lock()
	defer f.marks.mu.Unlock()
	if s.index.Load() > 0 {
		return true
	}
	index, name := indexOf(s.group.Position()), agentID{namespace: namespace, id: lower}
	m, marked := f.marks.all[name]
	switch {
	case marked && m.at > s.nodes.at:
		return false
	case marked && m.near == s.near:
		index = max(index, m.index)
	case marked:
		index = max(index, s.nodes.at, m.index+1)
	case s.near == 0:
		s.index.Store(index)
		return true
	}
	for i := range s.all {
		if n := s.nodes.byName[s.all[i].entry.Node.Node]; n != nil {
			index = max(index, indexOf(n.place.Changed))
		}
	}
	f.marks.all[name] = mark{near: s.near, at: s.nodes.at, index: index}
	s.index.Store(index)
	return true
}

// services are those of the shape.
func (s *shape) services() []domain.ServiceKey { return slices.Collect(s.group.Services) }
