package probes

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/feed"
)

// NodesService is the service in the registry's own namespace whose instances are the nodes that probe.
var NodesService = domain.ServiceKey{Namespace: domain.RegistryNamespace, Service: "prober"}

// Owner is the node that probes an instance: of all nodes the one with the highest score for the instance (rendezvous
// hashing). Every node computes the same, and when a node comes or goes only its own instances change hands. "": there is
// no node.
func Owner(nodes []string, key domain.Key) (owner string) {
	hash, highest := xxhash.Sum64String(key.String()), uint64(0)
	for _, node := range nodes {
		score := mixed(xxhash.Sum64String(node) ^ hash)
		if owner == "" || score > highest || score == highest && node < owner {
			owner, highest = node, score
		}
	}
	return owner
}

// mixed spreads the differences of two numbers over all bits (the finalizer of MurmurHash3).
func mixed(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// Nodes says which node probes an instance.
type Nodes interface {
	// Owner is the node that probes an instance; "": no node does.
	Owner(domain.Key) string
	// Mine says whether this node probes an instance now.
	Mine(domain.Key) bool
}

// Alone is the only node of a registry.
type Alone string

// Owner implements Nodes.
func (a Alone) Owner(domain.Key) string { return string(a) }

// Mine implements Nodes.
func (a Alone) Mine(domain.Key) bool { return true }

// OneOfMany is a node of a registry that may have several. The nodes that are alive are the instances of NodesService.
type OneOfMany struct {
	name  string
	view  func(domain.ServiceKey) *catalog.View
	now   func() time.Time
	began time.Time
	until atomic.Int64 // when the lease of this node ends unless it is renewed, nanoseconds since began; 0: there is none
}

// NewOneOfMany makes a node that is not registered yet: nothing is its own.
func NewOneOfMany(name string, view func(domain.ServiceKey) *catalog.View, now func() time.Time) *OneOfMany {
	return &OneOfMany{name: name, view: view, now: now, began: now()}
}

// Alive are the nodes that are registered.
func (n *OneOfMany) Alive() (names []string) {
	for _, e := range n.view(NodesService).Entries {
		names = append(names, e.ID())
	}
	return names
}

// Owner implements Nodes.
func (n *OneOfMany) Owner(key domain.Key) string { return Owner(n.Alive(), key) }

// Mine implements Nodes. A node whose own lease may have ended owns nothing, whatever its catalog says: it may have stood
// still, and others may have taken over meanwhile.
func (n *OneOfMany) Mine(key domain.Key) bool { return n.leased() && n.Owner(key) == n.name }

func (n *OneOfMany) leased() bool {
	until := n.until.Load()
	return until > 0 && n.now().Sub(n.began) < time.Duration(until)
}

// Watch calls changed after each change of the nodes, until the context ends.
func (n *OneOfMany) Watch(ctx context.Context, f *feed.Feed, changed func()) error {
	nodes, stop := f.Watch(NodesService)
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-nodes:
			changed()
		}
	}
}

// renewed notes that the registry took a renewal that was sent at a moment, of a lease of that ttl.
func (n *OneOfMany) renewed(sent time.Time, ttl time.Duration) {
	n.until.Store(int64(sent.Sub(n.began) + ttl))
}

// atMost notes that the lease may get another ttl from a moment on: it may end as soon as that.
func (n *OneOfMany) atMost(sent time.Time, ttl time.Duration) {
	n.until.Store(min(n.until.Load(), int64(sent.Sub(n.began)+ttl)))
}

// lost notes that the node is not registered.
func (n *OneOfMany) lost() { n.until.Store(0) }
