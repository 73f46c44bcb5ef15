package consul

import (
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// live is the instance of a key as it is now; false: there is none.
func (f *face) live(key domain.Key) (wire.Instance, bool) {
	entry := f.Queries.Live.Catalog().Find(key)
	if entry == nil {
		return wire.Instance{}, false
	}
	return queries.Show(entry, nil), true
}

// nodeNameOf is the name of the node that an instance is at.
func nodeNameOf(i *wire.Instance) string {
	if o, born := originOf(i.Origin); born {
		return o.Node
	}
	return nodeAt(i.Address).name
}

// serviceIDOf is the id of an instance's service, as its client named it.
func serviceIDOf(i *wire.Instance) string {
	if o, born := originOf(i.Origin); born && o.ID != "" {
		return o.ID
	}
	return unescape(i.ID)
}

// find finds the instance of a service's id at a node, of those that the caller knows. An id that the node does not have is
// that of the only other node that has it, for a client may report from another machine; of several, none is guessed.
func (f *face) find(q *request, n node, id string) (target, bool) {
	found, elsewhere := f.findAt(q, n, id)
	if found == (target{}) && len(elsewhere) == 1 {
		found.key = elsewhere[0]
	}
	return found, found != (target{})
}

// findAt finds the instance of a service's id at a node; the zero target: the node has none. elsewhere are the instances at
// other nodes.
func (f *face) findAt(q *request, n node, id string) (found target, elsewhere []domain.Key) {
	if id == "" {
		return target{}, nil
	}
	at := agentID{namespace: q.namespace, node: n.name, id: id}
	if known, _ := f.recall(at); known != (target{}) && q.knows(known.key) {
		return known, nil
	}
	here, elsewhere := f.named(q, n, id)
	if len(here) == 0 {
		return target{}, elsewhere
	}
	found = target{key: here[0].Key()}
	f.remember(at, found, here[0].Position)
	return found, nil
}

// named are the instances of a service's id at a node, and at other nodes, of those that the caller knows.
func (f *face) named(q *request, n node, id string) (here []*catalog.Entry, elsewhere []domain.Key) {
	for _, key := range f.Queries.ByID(escape(id), escape(id)+"@"+escape(n.name)) {
		if key.Namespace != q.namespace || key.Service == nodeService || !q.knows(key) {
			continue
		}
		entry := f.Queries.Live.Catalog().Find(key)
		if entry == nil {
			continue
		}
		i := queries.Show(entry, nil)
		switch {
		case serviceIDOf(&i) != id:
		case nodeNameOf(&i) == n.name:
			here = append(here, entry)
		default:
			elsewhere = append(elsewhere, key)
		}
	}
	return here, elsewhere
}

// findCheck finds the instance that has a check, by the check's id at a node.
func (f *face) findCheck(q *request, n node, id string) (target, bool) {
	at := agentID{namespace: q.namespace, node: n.name, id: id, check: true}
	if known, _ := f.recall(at); known != (target{}) && q.knows(known.key) {
		return known, true
	}
	check := escape(id)
	if service, ok := strings.CutPrefix(id, "service:"); ok { // the id that Consul gives checks: look where it points first
		for _, guess := range []string{service, beforeLast(service, ':')} {
			found, live := f.find(q, n, guess)
			found.check = check
			if entry := f.Queries.Live.Catalog().Find(found.key); live && entry != nil && at.names(found, entry) {
				f.remember(at, found, entry.Position)
				return found, true
			}
		}
	}
	var elsewhere []domain.Key
	var here *catalog.Entry // of several at the node, the one that registered last: in Consul an id is one check of a node
	for _, key := range f.Queries.ByCheck(check) {
		if key.Namespace != q.namespace || !q.knows(key) {
			continue
		}
		entry := f.Queries.Live.Catalog().Find(key)
		switch {
		case entry == nil || !at.names(target{key, check}, entry):
			elsewhere = append(elsewhere, key)
		case here == nil || queries.PlaceOf(here).Began < queries.PlaceOf(entry).Began:
			here = entry
		}
	}
	if here != nil {
		found := target{here.Key(), check}
		f.remember(at, found, here.Position)
		return found, true
	}
	if len(elsewhere) != 1 {
		return target{}, false
	}
	return target{elsewhere[0], check}, true
}

func beforeLast(text string, c byte) string {
	if at := strings.LastIndexByte(text, c); at >= 0 {
		return text[:at]
	}
	return ""
}

// stillNames says whether an id names a target now.
func (f *face) stillNames(at agentID, t target) bool {
	entry := f.Queries.Live.Catalog().Find(t.key)
	return entry != nil && at.names(t, entry)
}

// maxKnown is how many ids are remembered. Above, all are forgotten, and found again when they are needed.
const maxKnown = 1 << 20

// found is what an id was found to name, and the position of the instance's newest event then. An instance without a newer
// event is as it was, so that nothing of it needs to be decoded.
type found struct {
	target
	at eventstore.Position
}

// recall gives what an id was found to name, if it still names that, with the instance's entry; the zero target: it does not.
func (f *face) recall(at agentID) (target, *catalog.Entry) {
	f.mu.RLock()
	known, ok := f.known[at]
	f.mu.RUnlock()
	if !ok {
		return target{}, nil
	}
	entry := f.Queries.Live.Catalog().Find(known.key)
	switch {
	case entry != nil && entry.Position == known.at:
	case entry != nil && at.names(known.target, entry):
		f.remember(at, known.target, entry.Position)
	default:
		f.forget(at)
		return target{}, nil
	}
	return known.target, entry
}

// names says whether an id names an instance, or a check of it.
func (at agentID) names(t target, entry *catalog.Entry) bool {
	if at.check && entry.Check(t.check) == nil {
		return false
	}
	i := queries.Show(entry, nil)
	return nodeNameOf(&i) == at.node && (at.check || serviceIDOf(&i) == at.id)
}

// remember notes what an id names, and the position of the instance's event from which that is known.
func (f *face) remember(id agentID, t target, at eventstore.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxKnown {
		clear(f.known)
	}
	f.known[id] = found{t, at}
}

func (f *face) forget(at agentID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, at)
}

// ofNode are the instances at a node that the caller may read.
func (f *face) ofNode(q *request, node string) (all []shown) {
	q.filtered = !q.reads(q.namespace, "")
	for _, s := range f.everyone(q.namespace) {
		if s.entry.Node.Node == node && q.readsService(s.key.ServiceKey()) {
			all = append(all, s)
		}
	}
	return all
}

// everyone yields all instances of a namespace.
func (f *face) everyone(namespace string) (all []shown) {
	for name := range f.directory.Names(namespace) {
		if s := f.shape(namespace, name); s != nil {
			all = append(all, s.all...)
		}
	}
	return all
}
