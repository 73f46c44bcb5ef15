package history

import (
	"maps"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/sparse"
)

// lists are the lists of positions of young entries.
type lists struct {
	types      []typeList // few
	namespaces named
	services   map[string]*serviceList
	instances  []*instanceList
	index      sparse.Index // of instances
	memory     slab[instanceList]
	actors     named
	number     uint32 // how many lists there were before, so that a subject tells whether its list is of these
	direct     bool   // index leads to no instance: each list is found by its subject alone, as in a rebuild
}

// instanceList is the list of an instance, or of a stream of another kind.
type instanceList struct {
	name      string
	positions []eventstore.Position  // see marked
	first     [1]eventstore.Position // memory of positions while there is one, as of most instances that are new
}

// nameHash is the hash by which a name is looked up.
func nameHash(name string) uint32 { return uint32(xxhash.Sum64String(name)) }

// named are lists by name.
type named map[string]*[]eventstore.Position

// of is the list of a name, which is made if there is none.
func (n named) of(name string) *[]eventstore.Position {
	list := n[name]
	if list == nil {
		list = new([]eventstore.Position)
		n[strings.Clone(name)] = list
	}
	return list
}

type typeList struct {
	name      string
	positions []eventstore.Position
}

// serviceList is the list of a service. It leads to that of the namespace, which is not looked up for each entry.
type serviceList struct {
	namespace *[]eventstore.Position
	positions []eventstore.Position
}

// next are empty lists with memory for as much as l has, because the entries of a commit are mostly like those of the commit before. Readers
// may still have l.
func (l *lists) next() lists {
	n := lists{
		namespaces: l.namespaces.next(), services: make(map[string]*serviceList, len(l.services)), actors: l.actors.next(),
		instances: make([]*instanceList, 0, len(l.instances)), index: l.index.Next(), number: l.number + 1, direct: l.direct,
	}
	for _, t := range l.types {
		if len(t.positions) >= longList {
			n.types = append(n.types, typeList{t.name, make([]eventstore.Position, 0, len(t.positions))})
		}
	}
	return n
}

// longList is from how many positions on the memory of a list is taken at once for the next one.
const longList = 1024

func (n named) next() named {
	next := named{}
	for name, list := range n {
		if len(*list) >= longList {
			of := make([]eventstore.Position, 0, len(*list))
			next[name] = &of
		}
	}
	return next
}

// terms are the names by which an entry is found. They may be parts of long texts.
type terms struct {
	eventType, instance string
	service, namespace  string // "": the stream is not an instance's
	ofInstance          bool   // the stream is an instance's, by its prefix
	actor               string
	hasActor            bool
}

func termsOf(e *eventstore.RecordedEvent) (t terms) {
	t.eventType = indexName(e.Type)
	instance, ok := strings.CutPrefix(string(e.Stream), eventstore.LifecyclePrefix)
	t.instance, t.ofInstance = indexName(instance), ok
	if !ok {
		return t
	}
	t.namespace, _, _ = strings.Cut(t.instance, "/")
	if last := strings.LastIndexByte(t.instance, '/'); last >= 0 {
		t.service = t.instance[:last]
	}
	return t
}

// instance is the list of the instance, or of the stream, to which an entry belongs.
func (l *lists) instance(s *subject, name string) *instanceList {
	if s.list != nil && s.lists == l.number {
		return s.list
	}
	found := !l.direct || strings.Contains(name, cleaned) // two subjects may share a name that indexName made
	var list *instanceList
	if found {
		list = l.listed(s.hash, name)
	}
	if list == nil {
		list = l.memory.next(len(l.instances))
		list.name = s.name
		if s.name != name {
			list.name = strings.Clone(name)
		}
		list.positions = list.first[:0]
		if found {
			l.index.Add(s.hash, len(l.instances))
		}
		l.instances = append(l.instances, list)
	}
	s.list, s.lists = list, l.number
	return list
}

// listed is the list of a name with its hash; nil: there is none.
func (l *lists) listed(hash uint32, name string) *instanceList {
	i, ok := l.index.Find(hash, func(i int) bool { return l.instances[i].name == name })
	if !ok {
		return nil
	}
	return l.instances[i]
}

// add adds an entry to its lists.
func (l *lists) add(e *terms, s *subject, p eventstore.Position) {
	l.addType(e.eventType, p)
	instance := l.instance(s, e.instance)
	instance.positions = append(instance.positions, marked(p, isLife(e.eventType)))
	if e.hasActor {
		of := l.actors.of(e.actor)
		*of = append(*of, p)
	}
	switch {
	case e.service != "":
		service := l.services[e.service]
		if service == nil {
			service = &serviceList{namespace: l.namespaces.of(e.namespace)}
			l.services[strings.Clone(e.service)] = service
		}
		service.positions = append(service.positions, p)
		*service.namespace = append(*service.namespace, p)
	case e.namespace != "":
		of := l.namespaces.of(e.namespace)
		*of = append(*of, p)
	}
}

func (l *lists) addType(eventType string, p eventstore.Position) {
	for i := range l.types {
		if t := &l.types[i]; t.name == eventType {
			t.positions = append(t.positions, p)
			return
		}
	}
	l.types = append(l.types, typeList{strings.Clone(eventType), []eventstore.Position{p}})
}

// of is the list of a term.
func (l *lists) of(t term) []eventstore.Position {
	var list *[]eventstore.Position
	switch t.prefix {
	case rangeType:
		for i := range l.types {
			if l.types[i].name == t.name {
				return l.types[i].positions
			}
		}
	case rangeService:
		if service := l.services[t.name]; service != nil {
			return service.positions
		}
	case rangeInstance:
		if instance := l.listed(nameHash(t.name), t.name); instance != nil {
			return instance.positions
		}
	case rangeActor:
		list = l.actors[t.name]
	case rangeNamespace:
		list = l.namespaces[t.name]
	}
	if list == nil {
		return nil
	}
	return *list
}

// each yields every list that has a position with its term, until yield gives an error. The names of a kind come in order, because the engine takes keys
// in order several times as fast as others.
func (l *lists) each(yield func(t term, list []eventstore.Position) error) error {
	for _, t := range l.types {
		if len(t.positions) == 0 {
			continue
		}
		if err := yield(term{prefix: rangeType, name: t.name}, t.positions); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.services)) {
		if err := yield(term{prefix: rangeService, name: name}, l.services[name].positions); err != nil {
			return err
		}
	}
	instances := slices.Clone(l.instances) // readers may have the other
	byName(nil, instances, func(i *instanceList) string { return i.name })
	for _, list := range instances {
		if err := yield(term{prefix: rangeInstance, name: list.name}, list.positions); err != nil {
			return err
		}
	}
	for prefix, names := range map[byte]named{rangeActor: l.actors, rangeNamespace: l.namespaces} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if len(*names[name]) == 0 {
				continue
			}
			if err := yield(term{prefix: prefix, name: name}, *names[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
