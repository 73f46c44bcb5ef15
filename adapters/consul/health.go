package consul

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// instances waits for a change to a service, where the request asks for it, and gives the service's instances that the caller
// may read. Names count without regard to case. of is what they are made from; nil: there are none.
func (f *face) instances(q *request, name string) (of *shape, all []shown, err error) {
	lower := strings.ToLower(name)
	q.filtered = !q.reads(q.namespace, name)
	find := func() *shape {
		s := f.shape(q.namespace, lower)
		if s != nil && !q.elsewhere && slices.ContainsFunc(s.services(), q.readsService) {
			return s
		}
		return nil // as if it was not there, also for the index
	}
	// The services that a change can be of: those of the name and the nodes, or any, where the name has none yet.
	var keys []domain.ServiceKey
	if s := find(); s != nil {
		keys = append(s.services(), serviceKey(q.namespace, nodeService))
	}
	index, err := f.block(q, func() uint64 {
		if of = find(); of == nil {
			// The position of the last removal, or a later one. It moves only when a service appears or vanishes.
			return indexOf(f.Queries.Live.Catalog().ListedAt())
		}
		return of.index.Load()
	}, keys...)
	if err != nil {
		return nil, nil, err
	}
	f.headers(q, index)
	if of == nil {
		return nil, nil, nil
	}
	if !slices.ContainsFunc(of.services(), func(key domain.ServiceKey) bool { return !q.readsService(key) }) {
		return of, of.all, nil // they are shared: nobody changes them
	}
	for _, s := range of.all {
		if q.readsService(s.key.ServiceKey()) {
			all = append(all, s)
		}
	}
	return of, all, nil
}

// plain says whether the request asks for all there is, in the usual form. Nearly all do.
func (q *request) plain() bool {
	for _, name := range shaping {
		if name != "passing" && q.query.Has(name) {
			return false
		}
	}
	return !q.named
}

// wholeReply is the health of all instances, or of those that pass.
func (s *shape) wholeReply(q *request, only bool) reply {
	made := &s.whole
	if only {
		made = &s.wholePassing
	}
	made.once.Do(func() {
		entries := []serviceEntry{}
		for _, one := range s.all {
			if !only || one.passing {
				entries = append(entries, q.withNamespace(one.entry))
			}
		}
		if body, err := json.Marshal(entries); err == nil {
			made.reply = reply{body, compress(body, true)}
		}
	})
	return made.reply
}

func (f *face) healthService(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	only, err := q.flag("passing")
	if err != nil {
		return err
	}
	of, all, err := f.instances(q, q.id)
	if err != nil {
		return err
	}
	if only {
		f.warnOfPanics(q)
	}
	if of != nil && len(all) == len(of.all) && q.plain() {
		if r := of.wholeReply(q, only); r.plain != nil {
			return q.sendReply(http.StatusOK, r)
		}
	}
	return f.answer(q, of.name(q), func() (any, error) {
		entries := []serviceEntry{}
		for _, s := range all {
			if only && !s.passing || !q.tagged(s.entry.Service.Tags) || !q.onNode(s.entry.Node) {
				continue
			}
			entries = append(entries, q.withNamespace(s.entry))
		}
		return filter(q, entries)
	})
}

// warnOfPanics says that all instances are given, ready or not.
func (f *face) warnOfPanics(q *request) {
	group := f.directory.Find(q.namespace, strings.ToLower(q.id))
	if group == nil {
		return
	}
	panics := slices.DeleteFunc(group.Panics(), func(p wire.ServicePanic) bool { return !q.reads(p.Namespace, p.Service) })
	if len(panics) > 0 {
		q.Response().Header().Set(wire.HeaderPanic, queries.PanicNames(panics))
	}
}

// tagged says whether tags have all that the request asks for, without regard to case.
func (q *request) tagged(tags []string) bool {
	for _, wanted := range q.query["tag"] {
		if wanted != "" && !slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, wanted) }) {
			return false
		}
	}
	return true
}

// onNode says whether a node has all the metadata that the request asks for.
func (q *request) onNode(n nodeEntry) bool {
	for _, pair := range q.query["node-meta"] {
		key, value, _ := strings.Cut(pair, ":")
		if got, ok := n.Meta[key]; !ok || got != value {
			return false
		}
	}
	return true
}

func (f *face) healthChecks(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	of, all, err := f.instances(q, q.id)
	if err != nil {
		return err
	}
	return f.answer(q, of.name(q), func() (any, error) {
		checks := []healthCheck{}
		for _, s := range all {
			if q.onNode(s.entry.Node) {
				checks = append(checks, q.checksWithNamespace(s.own())...)
			}
		}
		return filter(q, checks)
	})
}

func (f *face) healthState(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing check state"}
	}
	return f.healthOfAll(q, func(n nodeEntry, c healthCheck) bool {
		return (q.id == "any" || c.Status == q.id) && q.onNode(n)
	})
}

func (f *face) healthNode(q *request) error {
	if q.id == "" {
		return noNodeName
	}
	return f.healthOfAll(q, func(n nodeEntry, _ healthCheck) bool { return strings.EqualFold(n.Node, q.id) })
}

// healthOfAll answers with the checks of nodes and of instances that are wanted.
func (f *face) healthOfAll(q *request, wanted func(nodeEntry, healthCheck) bool) error {
	at, err := f.everything(q, f.changed)
	if err != nil {
		return err
	}
	return f.answer(q, at.name(q), func() (any, error) {
		checks := []healthCheck{}
		add := func(n nodeEntry, all []healthCheck) {
			for _, c := range q.checksWithNamespace(all) {
				if wanted(n, c) {
					checks = append(checks, c)
				}
			}
		}
		all, nodes := f.all(q)
		for _, n := range nodes {
			add(n.entry, n.checks)
		}
		for _, s := range all {
			add(s.entry.Node, s.own())
		}
		return filter(q, checks)
	})
}

// changed is the index of answers about everything: of the newest change but heartbeats.
func (f *face) changed() uint64 { return indexOf(f.Queries.Live.Catalog().Changed()) }

// described is the index of answers that health is no part of.
func (f *face) described() uint64 { return indexOf(f.Queries.Live.Catalog().Described()) }

// moment is a moment of the registry for a caller: whoever may read as much at the same moment is answered alike.
type moment struct {
	changed uint64
	rights  string
}

// everything waits for a change, where the request asks for it, and gives the moment of the answer. index is the answer's.
func (f *face) everything(q *request, index func() uint64) (moment, error) {
	at, err := f.block(q, index)
	if err != nil {
		return moment{}, err
	}
	f.headers(q, at)
	q.filtered = !q.reads(q.namespace, "")
	m := moment{changed: f.changed()}
	if q.filtered {
		m.rights = fmt.Sprint(q.who.Grants)
	}
	return m, nil
}

// all are the instances of the namespace that the caller may read, and the nodes that are known: those at which such
// instances are, and all of them for a caller who may read the nodes' service.
func (f *face) all(q *request) (all []shown, nodes []*nodeRecord) {
	if q.elsewhere {
		return nil, nil
	}
	seen := map[string]bool{}
	for name := range f.directory.Names(q.namespace) {
		group := f.shape(q.namespace, name)
		if group == nil {
			continue
		}
		for _, s := range group.all {
			if q.readsService(s.key.ServiceKey()) {
				all = append(all, s)
				seen[s.entry.Node.Node] = true
			}
		}
	}
	readsNodes := q.reads(q.namespace, nodeService)
	for name, n := range f.nodes(q.namespace).byName {
		if readsNodes || seen[name] {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b *nodeRecord) int { return strings.Compare(a.entry.Node, b.entry.Node) })
	return all, nodes
}
