package consul

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/queries"
)

// places are the nodes that instances of one service are at, or that are kept, at one moment. They never change.
type places struct {
	named map[string]nodeEntry // by name, without indexes
	like  map[string]string    // a name by its lower case
	byID  map[string]string    // a name by the id in lower case
}

func placesOf(nodes iter.Seq[nodeEntry]) *places {
	p := &places{named: map[string]nodeEntry{}, like: map[string]string{}, byID: map[string]string{}}
	for n := range nodes {
		n.CreateIndex, n.ModifyIndex = 0, 0
		p.named[n.Node], p.like[strings.ToLower(n.Node)], p.byID[strings.ToLower(n.ID)] = n, n.Node, n.Node
	}
	return p
}

// everywhere yields the places of a namespace: first those of the nodes that are kept.
func (f *face) everywhere(namespace string) iter.Seq[*places] {
	return func(yield func(*places) bool) {
		if !yield(f.nodes(namespace).places()) {
			return
		}
		for name := range f.directory.Names(namespace) {
			group := f.directory.Find(namespace, name)
			if group != nil && !yield(f.placesOfGroup(group)) {
				return
			}
		}
	}
}

func (t *nodeTable) places() *places {
	if t.group == nil {
		return placesOf(func(func(nodeEntry) bool) {})
	}
	return t.group.Value("consul places of nodes", func() any {
		return placesOf(func(yield func(nodeEntry) bool) {
			for _, n := range t.byName {
				if !yield(n.entry) {
					return
				}
			}
		})
	}).(*places)
}

func (f *face) placesOfGroup(group *queries.Group) *places {
	return group.Value("consul places", func() any {
		return placesOf(func(yield func(nodeEntry) bool) {
			for _, s := range f.showGroup(group) {
				if !yield(s.entry.Node) {
					return
				}
			}
		})
	}).(*places)
}

// sight is what a namespace knows of a node: one look at all its places.
type sight struct {
	name    string      // as it is known: case does not count, where no node has the very name
	entries []nodeEntry // what the places tell of the node, without repetitions that follow each other
	holders []string    // names of nodes that have the id, this one among them
}

// look looks for a node by its name and by an id; "": no id.
func (f *face) look(namespace, name, id string) sight {
	very, like := sight{name: name}, sight{name: name}
	lower := strings.ToLower(name)
	id = strings.ToLower(id)
	for p := range f.everywhere(namespace) {
		if e, there := p.named[name]; there {
			very.add(e)
		} else if other, there := p.like[lower]; there {
			like.name = other
			like.add(p.named[other])
		}
		if holder, there := p.byID[id]; there && id != "" && !slices.Contains(very.holders, holder) {
			very.holders = append(very.holders, holder)
		}
	}
	if len(very.entries) == 0 && len(like.entries) > 0 {
		like.holders = very.holders
		return like
	}
	return very
}

// repeats gives a sight of a registration's node without a look at all places, which takes long where there are many services: the
// service that it names, or the one that was registered at the node last, has the same words about the node, and what is kept of the node does.
//
// INVARIANT: whoever says something else of a node that has instances keeps that (saysNews), and whoever takes its id ends them. So one
// instance that is there tells for all.
func (f *face) repeats(q *request, body *catalogRegistration) (seen sight, ok bool) {
	if body.Service == nil {
		return seen, false
	}
	n := node{body.Node, body.Address}
	said := f.nodeEntry(n, body.origin(), queries.Place{})
	told := func(entry *catalog.Entry) nodeEntry {
		o, _ := originOf(entry.Details().Origin)
		return f.nodeEntry(node{o.Node, o.NodeAddress}, o, queries.Place{})
	}
	if kept := f.Queries.Live.Catalog().Find(nodeKey(q.namespace, n.name)); kept != nil && !alike(said, told(kept)) {
		return seen, false
	}
	f.mu.RLock()
	last := f.last[agentID{namespace: q.namespace, node: n.name}]
	f.mu.RUnlock()
	here, _ := f.named(q, n, cmp.Or(body.Service.ID, body.Service.Service, body.Service.Name))
	for _, entry := range append(here, f.Queries.Live.Catalog().Find(last)) {
		if entry == nil {
			continue
		}
		if before := told(entry); before.Node == n.name && alike(said, before) {
			return sight{name: n.name, entries: []nodeEntry{before}, holders: []string{n.name}}, true
		}
	}
	return seen, false
}

// lastAt notes the instance that was registered at a node last.
func (f *face) lastAt(namespace, node string, key domain.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.last) >= maxKnown {
		clear(f.last)
	}
	f.last[agentID{namespace: namespace, node: node}] = key
}

func (s *sight) add(e nodeEntry) {
	if len(s.entries) == 0 || !alike(s.entries[len(s.entries)-1], e) {
		s.entries = append(s.entries, e)
	}
}

func alike(a, b nodeEntry) bool {
	return a.ID == b.ID && a.Address == b.Address && maps.Equal(a.Meta, b.Meta) && maps.Equal(a.TaggedAddresses, b.TaggedAddresses)
}

// id is the id that the node was given; "": none.
func (s *sight) id() string {
	for _, e := range s.entries { // what is kept of the node comes first
		if e.ID != idOf(e.Node) {
			return e.ID
		}
	}
	return ""
}

// renamed is the node whose id a registration gives to a node of another name: as in Consul, the other node ends with all that is at it. An
// id that no other node has renames nothing (""). A node that gossip says is alive keeps its name: only a check "serfHealth", which
// others write, can say so here.
func (f *face) renamed(q *request, n node, id string, seen sight) (from string, err error) {
	if id == "" || len(seen.holders) == 1 && seen.holders[0] == n.name {
		return "", nil
	}
	kept := f.nodes(q.namespace).byName
	for _, holder := range seen.holders {
		if other := kept[holder]; holder != n.name && (other == nil || strings.EqualFold(other.entry.ID, id)) { // what is kept of a node counts
			from = holder
		}
	}
	if there := kept[n.name]; there != nil && !strings.EqualFold(there.entry.ID, id) && (from != "" || there.entry.ID != idOf(n.name)) {
		for _, c := range there.checks {
			if c.CheckID == serfHealth && c.Status != critical {
				return "", failure{http.StatusInternalServerError, fmt.Sprintf("Error while renaming Node ID: %q (%s): Node name %s is reserved by node %s with name %s (%s)",
					id, n.address, n.name, there.entry.ID, there.entry.Node, there.entry.Address)}
			}
		}
	}
	return from, nil
}

// serfHealth is the check of a node by which Consul's servers say whether gossip reaches it.
const serfHealth = "serfHealth"

// idOf is the id of a node that was given none: it is made from the name, so that equal ids of services at two nodes stay apart for clients
// that join them with the id of the node.
func idOf(name string) string { return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(name)).String() }

// ends are the commands that end a node, and all that is at it.
func (f *face) ends(q *request, name, reason string) (ends []commands.Part, err error) {
	end := func(key domain.Key) error {
		entry := f.Queries.Live.Catalog().Find(key)
		if entry == nil {
			return nil
		}
		part, err := f.deregistration(q, key, reason)
		if err != nil {
			if !q.knows(key) {
				return failure{http.StatusForbidden, "Permission denied: the node's ID is that of another node"}
			}
			return err
		}
		revision := entry.Revision()
		part.IfMatch = &revision
		part.Registry = key.Service == nodeService // see doToNode
		ends = append(ends, part)
		return nil
	}
	for _, s := range f.everyone(q.namespace) {
		if s.entry.Node.Node == name {
			if err := end(s.key); err != nil {
				return nil, err
			}
		}
	}
	if kept := f.nodes(q.namespace).byName[name]; kept != nil {
		err = end(kept.key)
	}
	return ends, err
}

// endRenamed ends the node whose id another node has now.
func (f *face) endRenamed(q *request, from, to string) error {
	return f.again(q, func() error {
		ends, err := f.ends(q, from, "consul: the node is renamed to "+to)
		if err != nil || len(ends) == 0 {
			return err
		}
		_, err = f.Commands.Together(q.Request().Context(), ends...)
		return err
	})
}

// saysNews says whether a registration tells of its node what instances at the node do not: then the node is kept by itself, so that all
// that is at it has the same node.
func (f *face) saysNews(n node, body *catalogRegistration, seen sight) bool {
	said := f.nodeEntry(n, body.origin(), queries.Place{})
	return !body.SkipNodeUpdate && slices.ContainsFunc(seen.entries, func(e nodeEntry) bool { return !alike(e, said) })
}

// followAddress gives the instances at a node that have no address of their own the node's new one, so that other faces know of it. The right to write
// the node is enough, as with Consul. What was not written meets the next registration that names the address.
func (f *face) followAddress(q *request, n node, seen sight) error {
	moved := func(e nodeEntry) bool { return e.Address != n.address }
	if !slices.ContainsFunc(seen.entries, moved) || q.who.May(domain.WriteInstances, nodeKey(q.namespace, n.name)) != nil {
		return nil
	}
	for _, s := range f.everyone(q.namespace) {
		if s.entry.Node.Node != n.name || s.entry.Service.Address != "" {
			continue
		}
		err := f.amendAs(q, s.key, func(c domain.RegisterInstance) (domain.Command, error) { return c, nil }, func(d *domain.Details, o *origin) {
			if o.Node == n.name && o.NodeAddress != n.address { // else it came through another face, or follows already
				d.Address, o.NodeAddress = n.address, n.address
			}
		})
		if err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}
