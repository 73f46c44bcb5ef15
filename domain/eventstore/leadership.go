package eventstore

// Leadership is implemented by a store of several nodes, one of which leads. What the registry decides by itself, such as the
// end of a lease, is decided by the node that leads, and by no other. A store without Leadership leaves that to every node.
type Leadership interface {
	// Leads gives the term in which this node leads, and whether it does. A node that leads has applied every event of
	// earlier terms. Terms grow, and in a term at most one node leads; a node that has lost the lead may not know it yet,
	// so a request that was judged by the leader names the term (AppendRequest.Term).
	Leads() (term uint64, ok bool)
}
