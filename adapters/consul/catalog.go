package consul

import (
	"net/http"
	"slices"
	"strings"
)

func (f *face) datacenters(q *request) error { return q.json([]string{f.Datacenter}) }

func (f *face) catalogServices(q *request) error {
	all, err := f.everything(q, f.described)
	if err != nil {
		return err
	}
	rows, err := filter(q, rows(q, all))
	if err != nil {
		return err
	}
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
	return q.json(services)
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
			ServiceProxy: orObject(e.Proxy), ServiceConnect: orObject(e.Connect), CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex, Namespace: e.Namespace,
		})
	}
	return rows
}

func orObject(b []byte) []byte {
	if b == nil {
		return []byte("{}")
	}
	return b
}

func (f *face) catalogService(q *request) error {
	if q.id == "" {
		return failure{http.StatusBadRequest, "Missing service name"}
	}
	_, all, err := f.group(q, q.id)
	if err != nil {
		return err
	}
	rows, err := filter(q, rows(q, all))
	if err != nil {
		return err
	}
	return q.json(rows)
}

func (f *face) catalogNodes(q *request) error {
	all, err := f.everything(q, f.described)
	if err != nil {
		return err
	}
	nodes, err := filter(q, nodesOf(q, all))
	if err != nil {
		return err
	}
	return q.json(nodes)
}

// nodesOf are the nodes that instances are at, by name.
func nodesOf(q *request, all []shown) []nodeEntry {
	nodes := []nodeEntry{}
	seen := map[string]bool{}
	for _, s := range all {
		if n := s.entry.Node; !seen[n.Node] && q.onNode(n) {
			seen[n.Node] = true
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b nodeEntry) int { return strings.Compare(a.Node, b.Node) })
	return nodes
}

// at are the instances at a node.
func (f *face) at(q *request) (n *nodeEntry, services []agentService, err error) {
	all, err := f.everything(q, f.described)
	if err != nil {
		return nil, nil, err
	}
	services = []agentService{}
	for _, s := range all {
		if strings.EqualFold(s.entry.Node.Node, q.id) {
			n = &s.entry.Node
			services = append(services, q.withNamespace(s.entry).Service)
		}
	}
	services, err = filter(q, services)
	return n, services, err
}

func (f *face) catalogNode(q *request) error {
	n, services, err := f.at(q)
	if err != nil {
		return err
	}
	if n == nil {
		return q.send(http.StatusOK, []byte("null"))
	}
	byID := map[string]agentService{}
	for _, s := range services {
		byID[s.ID] = s
	}
	return q.json(struct {
		Node     *nodeEntry
		Services map[string]agentService
	}{n, byID})
}

func (f *face) catalogNodeServices(q *request) error {
	n, services, err := f.at(q)
	if err != nil {
		return err
	}
	if n == nil {
		return q.send(http.StatusOK, []byte("null"))
	}
	return q.json(struct {
		Node     *nodeEntry
		Services []agentService
	}{n, services})
}
