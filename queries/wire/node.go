package wire

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
)

// NodeService is the service whose instances stand for nodes: what is known of a node is kept with an instance of that service, in
// the namespace of the services at the node (ADR 070).
const NodeService = "consul-node"

// Node is the machine that an instance is at, as clients of Consul know it.
type Node struct {
	Name    string
	Address string
	Meta    map[string]string
	Is      bool // the instance stands for the node itself
	// WarningWeight is the weight of the instance while it has the status warning; nil: it is no other than usual.
	WarningWeight *int
}

// NodeOf is the node of an instance. An instance that did not come through Consul's API has one that is named by its address.
func NodeOf(i *Instance) Node {
	var kept struct {
		Consul *struct {
			Node        string            `json:"node"`
			NodeAddress string            `json:"node_address"`
			NodeMeta    map[string]string `json:"node_meta"`
			IsNode      bool              `json:"is_node"`
			Weights     *struct{ Warning int }
		} `json:"consul"`
	}
	if i.Origin == "" || json.Unmarshal([]byte(i.Origin), &kept) != nil || kept.Consul == nil {
		name, address := NodeAt(i.Address)
		return Node{Name: name, Address: address}
	}
	o := kept.Consul
	n := Node{Name: o.Node, Address: o.NodeAddress, Meta: o.NodeMeta, Is: o.IsNode && i.Service == NodeService}
	if o.Weights != nil {
		weight := min(o.Weights.Warning*domain.DefaultWeight, 65535)
		n.WarningWeight = &weight
	}
	return n
}

// NodeAt is the name of the node at an address: ip-10-0-0-5 at 10.0.0.5. The address comes back in its usual form.
func NodeAt(address string) (name, usual string) {
	if a, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		usual = a.Unmap().WithZone("").String()
		return "ip-" + strings.NewReplacer(".", "-", ":", "-").Replace(usual), usual
	}
	return strings.ToLower(address), address
}
