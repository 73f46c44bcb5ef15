package consul

import (
	"net/http"
	"slices"
	"strings"
)

func (f *face) datacenters(q *request) error { return q.json([]string{f.Datacenter}) }

func (f *face) catalogServices(q *request) error {
	at, err := f.everything(q, f.described)
	if err != nil {
		return err
	}
	return f.answer(q, at.name(q), func() (any, error) {
		all, _ := f.all(q)
		rows, err := filter(q, rows(q, all))
		services := map[string][]string{}
		for _, row := range rows {
			tags, ok := services[row.ServiceName]
			if !ok {
				tags = []string{}
			}
			for _, tag := range row.ServiceTags {
				if !slices.Contains(tags, tag) {
					tags = append(tags, tag)
				}
			}
			services[row.ServiceName] = tags
		}
		return services, err
	})
}

// rows are instances as the catalog lists them.
func rows(q *request, all []shown) []catalogService {
	rows := []catalogService{}
	for _, s := range all {
		n, e := s.entry.Node, q.withNamespace(s.entry).Service
		if !q.tagged(e.Tags) || !q.onNode(n) {
			continue
		}
		rows = append(rows, catalogService{
			ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
			ServiceKind: e.Kind, ServiceID: e.ID, ServiceName: e.Service, ServiceTags: e.Tags, ServiceAddress: e.Address, ServiceTaggedAddresses: e.TaggedAddresses,
			ServiceWeights: e.Weights, ServiceMeta: e.Meta, ServicePort: e.Port, ServiceSocketPath: e.SocketPath, ServiceEnableTagOverride: e.EnableTagOverride,
			ServiceProxy: e.Proxy, ServiceConnect: e.Connect, CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex, Namespace: e.Namespace,
		})
	}
	return rows
}

func (f *face) catalogService(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	of, all, err := f.instances(q, q.id)
	if err != nil {
		return err
	}
	return f.answer(q, of.name(q), func() (any, error) { return filter(q, rows(q, all)) })
}

func (f *face) catalogNodes(q *request) error {
	at, err := f.everything(q, f.described)
	if err != nil {
		return err
	}
	return f.answer(q, at.name(q), func() (any, error) {
		all, known := f.all(q)
		return filter(q, nodesOf(q, all, known))
	})
}

// nodesOf are the nodes that are known and those that instances are at, by name.
func nodesOf(q *request, all []shown, known []*nodeRecord) []nodeEntry {
	nodes := []nodeEntry{}
	seen := map[string]bool{}
	add := func(n nodeEntry) {
		if !seen[n.Node] && q.onNode(n) {
			seen[n.Node] = true
			nodes = append(nodes, n)
		}
	}
	for _, n := range known {
		add(n.entry)
	}
	for _, s := range all {
		add(s.entry.Node)
	}
	slices.SortFunc(nodes, func(a, b nodeEntry) int { return strings.Compare(a.Node, b.Node) })
	return nodes
}

// atNode answers with a node and the services at it, in the form that form gives them.
func (f *face) atNode(q *request, form func(nodeEntry, []agentService) any) error {
	if q.id == "" {
		return noNodeName
	}
	at, err := f.everything(q, f.described)
	if err != nil {
		return err
	}
	return f.answer(q, at.name(q), func() (any, error) {
		var n *nodeEntry
		services := []agentService{}
		all, known := f.all(q)
		for _, k := range known {
			if strings.EqualFold(k.entry.Node, q.id) {
				n = &k.entry
			}
		}
		for i := range all {
			if e := &all[i].entry; strings.EqualFold(e.Node.Node, q.id) {
				n = &e.Node
				services = append(services, q.withNamespace(*e).Service)
			}
		}
		services, err := filter(q, services)
		if n == nil || err != nil {
			return nil, err
		}
		return form(*n, services), nil
	})
}

func (f *face) catalogNode(q *request) error {
	return f.atNode(q, func(n nodeEntry, services []agentService) any {
		byID := map[string]agentService{}
		for _, s := range services {
			byID[s.ID] = s
		}
		return struct {
			Node     nodeEntry
			Services map[string]agentService
		}{n, byID}
	})
}

func (f *face) catalogNodeServices(q *request) error {
	return f.atNode(q, func(n nodeEntry, services []agentService) any {
		return struct {
			Node     nodeEntry
			Services []agentService
		}{n, services}
	})
}
