package consul

import (
	"cmp"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// nodeService is the service whose instances are nodes. A node gets an instance when it gets a check or is in maintenance, or when
// it is registered by itself.
const nodeService = wire.NodeService

// isNode says whether an instance is a node.
func isNode(i *wire.Instance, o origin) bool { return i.Service == nodeService && o.IsNode }

// nodeRecord is what is known of a node.
type nodeRecord struct {
	key         domain.Key
	entry       nodeEntry
	checks      []healthCheck
	maintenance *domain.InMaintenance // nil: the node is not in maintenance
	place       queries.Place
}

// nodeTable is the nodes of a namespace that are known, at one moment. It never changes.
type nodeTable struct {
	group  *queries.Group // nil: there are none
	byName map[string]*nodeRecord
	at     uint64 // the index of the newest change to the nodes
}

// nodes are the nodes of a namespace that are known now.
func (f *face) nodes(namespace string) *nodeTable {
	group := f.directory.Find(namespace, nodeService)
	if group == nil {
		return &nodeTable{at: indexOf(f.Queries.Live.Catalog().ListedAt())}
	}
	return group.Value("consul nodes", func() any {
		t := &nodeTable{group: group, byName: map[string]*nodeRecord{}, at: indexOf(group.Position())}
		for i, place := range group.Placed {
			if o, born := originOf(i.Origin); born && isNode(&i, o) {
				t.byName[o.Node] = f.showNode(&i, o, place)
			}
		}
		return t
	}).(*nodeTable)
}

func (f *face) showNode(i *wire.Instance, o origin, place queries.Place) *nodeRecord {
	n := &nodeRecord{key: i.Key(), entry: f.nodeEntry(node{o.Node, o.NodeAddress}, o, place), maintenance: i.Maintenance, place: place}
	add := func(c healthCheck) {
		c.Node, c.ServiceTags, c.Namespace = o.Node, []string{}, i.Namespace
		n.checks = append(n.checks, c.placed(place))
	}
	if i.Traffic == domain.Maintenance {
		notes := "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
		if i.Maintenance != nil {
			notes = cmp.Or(i.Maintenance.Reason, notes)
		}
		add(healthCheck{CheckID: nodeMaintenance, Name: "Node Maintenance Mode", Status: critical, Notes: notes, Type: maintenance})
	}
	for _, c := range i.Checks {
		add(f.check(c, o.Checks[c.ID]))
	}
	for _, c := range o.Written {
		add(c.show())
	}
	return n
}
