package history

import (
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// lists are the lists of positions of young entries. They come in the order in which an entry needs them, so that an entry
// looks up three names, and not one for each of its seven lists.
type lists struct {
	all        typed // positions are not kept: every entry has one
	namespaces map[string]*typed
	services   map[string]*typed
	instances  map[string]*[]eventstore.Position // of instances, or of whole streams of other kinds; see marked
	actors     map[string]*[]eventstore.Position
}

// typed are the positions of a namespace or a service, and those of each type within it.
type typed struct {
	namespace *typed // of a service's; else nil
	positions []eventstore.Position
	types     []typeList // few
}

type typeList struct {
	name      string
	positions []eventstore.Position
}

func newLists() lists {
	return lists{
		namespaces: make(map[string]*typed), services: make(map[string]*typed),
		instances: make(map[string]*[]eventstore.Position), actors: make(map[string]*[]eventstore.Position),
	}
}

// terms are the names by which an entry is found. They may be parts of long texts.
type terms struct {
	eventType, instance string
	service, namespace  string // "": the stream is not an instance's
	actor               string
	hasActor            bool
}

func termsOf(e *eventstore.RecordedEvent) (t terms) {
	t.eventType = indexName(e.Type)
	t.actor, t.hasActor = actorOf(e.Metadata)
	t.actor = indexName(t.actor)
	instance, ok := strings.CutPrefix(string(e.Stream), eventstore.LifecyclePrefix)
	t.instance = indexName(instance)
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
	l.all.add(e.eventType, p)
	at := marked(p, isLife(e.eventType))
	if list, ok := l.instances[e.instance]; ok {
		*list = append(*list, at)
	} else {
		l.instances[strings.Clone(e.instance)] = &[]eventstore.Position{at}
	}
	if e.hasActor {
		if list, ok := l.actors[e.actor]; ok {
			*list = append(*list, p)
		} else {
			l.actors[strings.Clone(e.actor)] = &[]eventstore.Position{p}
		}
	}
	if e.service != "" {
		service, ok := l.services[e.service]
		if !ok {
			service = &typed{namespace: l.namespaceOf(e.namespace)}
			l.services[strings.Clone(e.service)] = service
		}
		service.add(e.eventType, p)
		service.positions = append(service.positions, p)
		service.namespace.add(e.eventType, p)
		service.namespace.positions = append(service.namespace.positions, p)
	} else if e.namespace != "" {
		namespace := l.namespaceOf(e.namespace)
		namespace.add(e.eventType, p)
		namespace.positions = append(namespace.positions, p)
	}
}

func (l *lists) namespaceOf(name string) *typed {
	namespace := l.namespaces[name]
	if namespace == nil {
		namespace = new(typed)
		l.namespaces[strings.Clone(name)] = namespace
	}
	return namespace
}

func (l *typed) add(eventType string, p eventstore.Position) {
	for i := range l.types {
		if t := &l.types[i]; t.name == eventType {
			t.positions = append(t.positions, p)
			return
		}
	}
	l.types = append(l.types, typeList{strings.Clone(eventType), []eventstore.Position{p}})
}

func (l *typed) of(eventType string) []eventstore.Position {
	for i := range l.types {
		if l.types[i].name == eventType {
			return l.types[i].positions
		}
	}
	return nil
}

// of is the list of a term.
func (l *lists) of(t term) []eventstore.Position {
	var list *[]eventstore.Position
	var within *typed
	switch t.prefix {
	case rangeType:
		return l.all.of(t.name)
	case rangeInstance:
		list = l.instances[t.name]
	case rangeActor:
		list = l.actors[t.name]
	case rangeService:
		within = l.services[t.name]
	case rangeNamespace:
		within = l.namespaces[t.name]
	case rangeTypeWithin:
		if within = l.services[t.name]; within == nil {
			within = l.namespaces[t.name]
		}
		if within == nil {
			return nil
		}
		return within.of(t.of)
	}
	switch {
	case list != nil:
		return *list
	case within != nil:
		return within.positions
	}
	return nil
}

// each yields every list with its term, until yield gives an error. The names of a kind come in order, because the engine takes keys
// in order several times as fast as others.
func (l *lists) each(yield func(t term, list []eventstore.Position) error) error {
	for _, t := range l.all.types {
		if err := yield(term{prefix: rangeType, name: t.name}, t.positions); err != nil {
			return err
		}
	}
	for prefix, names := range map[byte]map[string]*[]eventstore.Position{rangeInstance: l.instances, rangeActor: l.actors} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if err := yield(term{prefix: prefix, name: name}, *names[name]); err != nil {
				return err
			}
		}
	}
	for prefix, names := range map[byte]map[string]*typed{rangeNamespace: l.namespaces, rangeService: l.services} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			of := names[name]
			if err := yield(term{prefix: prefix, name: name}, of.positions); err != nil {
				return err
			}
			for _, t := range of.types {
				if err := yield(term{prefix: rangeTypeWithin, name: name, of: t.name}, t.positions); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
