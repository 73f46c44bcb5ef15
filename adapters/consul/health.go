package consul

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// group waits for a change to a service, where the request asks for it, and gives the service's instances that the caller
// may read. Names count without regard to case. whole is the group if that is all of it; nil: it is not.
func (f *face) group(q *request, name string) (whole *queries.Group, all []shown, err error) {
	lower := strings.ToLower(name)
	q.filtered = !q.reads(q.namespace, name)
	find := func() *queries.Group {
		group := f.directory.Find(q.namespace, lower)
		if group != nil {
			for key := range group.Services {
				if q.reads(key.Namespace, key.Service) {
					return group
				}
			}
		}
		return nil // as if it was not there, also for the index
	}
	group := find()
	// The services that a change can be of: those of the group, or any, where the name has none yet.
	var keys []domain.ServiceKey
	if group != nil {
		keys = slices.Collect(group.Services)
	}
	index, err := f.block(q, func() uint64 {
		if group = find(); group == nil {
			// The position of the last removal, or a later one. It moves only when a service appears or vanishes.
			return indexOf(f.Queries.Live.Catalog().ListedAt())
		}
		return indexOf(group.Position())
	}, keys...)
	if err != nil {
		return nil, nil, err
	}
	f.headers(q, index)
	if group == nil {
		return nil, nil, nil
	}
	all = f.showGroup(group)
	if !slices.ContainsFunc(all, func(s shown) bool { return !q.reads(s.key.Namespace, s.key.Service) }) {
		return group, all, nil // they are shared: nobody changes them
	}
	var readable []shown
	for i := range all {
		if q.reads(all[i].key.Namespace, all[i].key.Service) {
			readable = append(readable, all[i])
		}
	}
	return nil, readable, nil
}

// plain says whether the request asks for all there is, in the usual form.
func (q *request) plain() bool {
	for _, name := range []string{"filter", "tag", "node-meta", "pretty"} {
		if q.query.Has(name) {
			return false
		}
	}
	return !q.named
}

// healthOf is the reply about a whole group, or its passing instances, made once for all requests that are plain.
func (f *face) healthOf(q *request, group *queries.Group, only bool) reply {
	name := "consul health"
	if only {
		name = "consul passing"
	}
	return group.Value(name, func() any {
		entries := []serviceEntry{}
		for _, s := range f.showGroup(group) {
			if !only || s.passing {
				entries = append(entries, q.withNamespace(s.entry))
			}
		}
		body, err := json.Marshal(entries)
		if err != nil {
			return reply{}
		}
		return reply{body, compress(body, true)}
	}).(reply)
}

func (f *face) healthService(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	only, err := q.flag("passing")
	if err != nil {
		return err
	}
	whole, all, err := f.group(q, q.id)
	if err != nil {
		return err
	}
	if whole != nil && q.plain() {
		if r := f.healthOf(q, whole, only); r.plain != nil {
			return q.sendReply(http.StatusOK, r)
		}
	}
	entries := []serviceEntry{}
	for _, s := range all {
		if only && !s.passing || !q.tagged(s.entry.Service.Tags) || !q.onNode(s.entry.Node) {
			continue
		}
		entries = append(entries, q.withNamespace(s.entry))
	}
	if entries, err = filter(q, entries); err != nil {
		return err
	}
	return q.json(entries)
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
	_, all, err := f.group(q, q.id)
	if err != nil {
		return err
	}
	checks := []healthCheck{}
	for _, s := range all {
		if q.onNode(s.entry.Node) {
			checks = append(checks, q.withNamespace(s.entry).Checks...)
		}
	}
	if checks, err = filter(q, checks); err != nil {
		return err
	}
	return q.json(checks)
}

func (f *face) healthState(q *request) error {
	switch q.id {
	case "any", passing, warning, critical:
	default:
		return failure{http.StatusBadRequest, "Missing check state"}
	}
	all, err := f.everything(q, f.changed)
	if err != nil {
		return err
	}
	checks := []healthCheck{}
	for _, s := range all {
		if !q.onNode(s.entry.Node) {
			continue
		}
		for _, c := range q.withNamespace(s.entry).Checks {
			if q.id == "any" || c.Status == q.id {
				checks = append(checks, c)
			}
		}
	}
	if checks, err = filter(q, checks); err != nil {
		return err
	}
	return q.json(checks)
}

func (f *face) healthNode(q *request) error {
	all, err := f.everything(q, f.changed)
	if err != nil {
		return err
	}
	checks := []healthCheck{}
	for _, s := range all {
		if strings.EqualFold(s.entry.Node.Node, q.id) {
			checks = append(checks, q.withNamespace(s.entry).Checks...)
		}
	}
	if checks, err = filter(q, checks); err != nil {
		return err
	}
	return q.json(checks)
}

// changed is the index of answers about everything: of the newest change but heartbeats.
func (f *face) changed() uint64 { return indexOf(f.Queries.Live.Catalog().Changed()) }

// described is the index of answers that health is no part of.
func (f *face) described() uint64 { return indexOf(f.Queries.Live.Catalog().Described()) }

// everything waits for a change, where the request asks for it, and gives all instances of the namespace that the caller
// may read.
func (f *face) everything(q *request, index func() uint64) ([]shown, error) {
	at, err := f.block(q, index)
	if err != nil {
		return nil, err
	}
	f.headers(q, at)
	q.filtered = !q.reads(q.namespace, "")
	var all []shown
	for name := range f.directory.Names(q.namespace) {
		group := f.directory.Find(q.namespace, name)
		if group == nil {
			continue
		}
		for _, s := range f.showGroup(group) {
			if q.reads(s.key.Namespace, s.key.Service) {
				all = append(all, s)
			}
		}
	}
	return all, nil
}
