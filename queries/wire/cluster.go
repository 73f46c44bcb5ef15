package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// ClusterStatus is how the cluster is, as one of its nodes sees it.
type ClusterStatus struct {
	Node     string         `json:"node"`               // that answers
	Role     ClusterRole    `json:"role"`               // of the node
	Term     uint64         `json:"term"`               // counts elections
	Leader   string         `json:"leader,omitempty"`   // absent: the node knows of none
	Since    *time.Time     `json:"since,omitempty"`    // when the node learned of the leader, or that there is none
	Applied  uint64         `json:"applied"`            // number of the newest entry of the log that is in the node's store
	Lag      uint64         `json:"lag"`                // entries that the node knows to be decided, and has not applied
	LogBytes uint64         `json:"log_bytes"`          // of the node's log
	Members  []MemberStatus `json:"members"`            // by id
	Changing bool           `json:"changing,omitempty"` // a change of the members is under way
	Problem  string         `json:"problem,omitempty"`  // why the node is no good member, e.g. that it was removed
}

// ClusterRole is what a node does in a cluster.
type ClusterRole string

// The roles.
const (
	Leader   ClusterRole = "leader"   // decides the order of events
	Follower ClusterRole = "follower" // has a vote
	Learner  ClusterRole = "learner"  // gets the log, and has no vote yet
)

// MemberStatus is how a member is. What only the leader knows is absent elsewhere.
type MemberStatus struct {
	domain.Member
	Role    ClusterRole `json:"role"`
	Active  *bool       `json:"active,omitempty"`  // it answered the leader lately
	Behind  *uint64     `json:"behind,omitempty"`  // entries of the log that it lacks
	Problem string      `json:"problem,omitempty"` // why the node that answers cannot reach it
}

// NewMember is the body that adds a member.
type NewMember struct {
	domain.Member
	Reason string `json:"reason,omitempty"`
}

// NewLeader is the body that gives the lead to a member.
type NewLeader struct {
	ID string `json:"id,omitempty"` // absent: the leader chooses the one that is the most current
}
