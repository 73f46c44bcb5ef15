package consul

import (
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
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

// find finds the instance of a service's id at a node, of those that the caller knows. An id that the node does not have is that of the only other node that
// has it, for a client may report from another machine; of several, none is guessed.
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
	if known, ok := f.recall(at); ok {
		switch i, live := f.live(known.key); {
		case !live || nodeNameOf(&i) != n.name || serviceIDOf(&i) != id:
			f.forget(at)
		case q.knows(known.key):
			return known, nil
		}
	}
	for _, key := range f.Queries.ByID(escape(id), escape(id)+"@"+escape(n.name)) {
		if key.Namespace != q.namespace || key.Service == nodeService || !q.knows(key) {
			continue
		}
		i, live := f.live(key)
		if !live || serviceIDOf(&i) != id {
			continue
		}
		if nodeNameOf(&i) == n.name {
			found := target{key: key}
			f.remember(at, found)
			return found, nil
		}
		elsewhere = append(elsewhere, key)
	}
	return target{}, elsewhere
}

// findCheck finds the instance that has a check, by the check's id at a node.
func (f *face) findCheck(q *request, n node, id string) (target, bool) {
	at := agentID{namespace: q.namespace, node: n.name, id: id, check: true}
	if known, ok := f.recall(at); ok {
		switch {
		case !f.hasCheck(known, n.name):
			f.forget(at)
		case q.knows(known.key):
			return known, true
		}
	}
	check := escape(id)
	if service, ok := strings.CutPrefix(id, "service:"); ok { // the id that Consul gives checks: look where it points first
		for _, guess := range []string{service, beforeLast(service, ':')} {
			found, live := f.find(q, n, guess)
			found.check = check
			if live && f.hasCheck(found, n.name) {
				f.remember(at, found)
				return found, true
			}
		}
	}
	var elsewhere []domain.Key
	for _, key := range f.Queries.ByCheck(check) {
		if key.Namespace != q.namespace || !q.knows(key) {
			continue
		}
		found := target{key, check}
		if f.hasCheck(found, n.name) {
			f.remember(at, found)
			return found, true
		}
		elsewhere = append(elsewhere, key)
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

// hasCheck says whether an instance at the node has the check.
func (f *face) hasCheck(t target, node string) bool {
	entry := f.Queries.Live.Catalog().Find(t.key)
	if entry == nil || !entry.Watched() {
		return false
	}
	i := queries.Show(entry, nil)
	if nodeNameOf(&i) != node {
		return false
	}
	for _, c := range i.Checks {
		if c.ID == t.check {
			return true
		}
	}
	return false
}

// maxKnown is how many ids are remembered. Above, all are forgotten, and found again when they are needed.
const maxKnown = 1 << 20

func (f *face) recall(at agentID) (target, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.known[at]
	return known, ok
}

func (f *face) remember(at agentID, t target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxKnown {
		clear(f.known)
	}
	f.known[at] = t
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
