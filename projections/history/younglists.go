package history

import (
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// lists are the lists of positions of young entries.
type lists struct {
	types      []typeList // few
	namespaces named
	services   map[string]*serviceList
	instances  named // of instances, or of whole streams of other kinds; see marked
	actors     named
}

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

func newLists() lists {
	return lists{namespaces: named{}, services: map[string]*serviceList{}, instances: named{}, actors: named{}}
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
	t.actor, t.hasActor = actorOf(e.Metadata)
	t.actor = indexName(t.actor)
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

// add adds an entry to its lists.
func (l *lists) add(e *terms, p eventstore.Position) {
	l.addType(e.eventType, p)
	of := l.instances.of(e.instance)
	*of = append(*of, marked(p, isLife(e.eventType)))
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
		list = l.instances[t.name]
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

// each yields every list with its term, until yield gives an error. The names of a kind come in order, because the engine takes keys
// in order several times as fast as others.
func (l *lists) each(yield func(t term, list []eventstore.Position) error) error {
	for _, t := range l.types {
		if err := yield(term{prefix: rangeType, name: t.name}, t.positions); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.services)) {
		if err := yield(term{prefix: rangeService, name: name}, l.services[name].positions); err != nil {
			return err
		}
	}
	for prefix, names := range map[byte]named{rangeInstance: l.instances, rangeActor: l.actors, rangeNamespace: l.namespaces} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if err := yield(term{prefix: prefix, name: name}, *names[name]); err != nil {
				return err
			}
		}
	}
	return nil
}
