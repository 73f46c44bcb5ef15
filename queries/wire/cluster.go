package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// ClusterStatus is how the cluster is, as one of its nodes sees it.
type ClusterStatus struct {
	Node   string      `json:"node"`             // that answers
	Role   ClusterRole `json:"role"`             // of the node
	Term   uint64      `json:"term"`             // counts elections
	Leader string      `json:"leader,omitempty"` // absent: the node knows of none
	// WithoutLeaderSince is since when the node has known of no leader; absent: it knows of one.
	WithoutLeaderSince *time.Time     `json:"without_leader_since,omitempty"`
	Applied            uint64         `json:"applied"`           // number of the newest entry of the log that is in the node's store
	Lag                uint64         `json:"lag"`               // entries that the node knows to be decided, and has not applied
	LogBytes           uint64         `json:"log_bytes"`         // of the node's log
	Rules              uint64         `json:"rules"`             // version of the rules by which all nodes read the log
	Members            []MemberStatus `json:"members"`           // by id
	Problem            string         `json:"problem,omitempty"` // why the node takes no commands
}

// ClusterRole is what a node does in a cluster.
type ClusterRole string

// The roles.
const (
	Leader    ClusterRole = "leader"    // decides the order of events
	Follower  ClusterRole = "follower"  // has a vote
	Candidate ClusterRole = "candidate" // has no leader, and asks for votes
	Learner   ClusterRole = "learner"   // gets the log, and has no vote yet
	Outside   ClusterRole = "outside"   // belongs to no cluster yet
	Stopped   ClusterRole = "stopped"   // has failed, or was removed
)

// MemberStatus is how a member is. What only the leader knows is absent elsewhere.
type MemberStatus struct {
	domain.Member
	Role      ClusterRole `json:"role"`
	Connected bool        `json:"connected"`         // the node that answers can send to it
	Behind    *uint64     `json:"behind,omitempty"`  // entries of the log that it lacks
	Rules     uint64      `json:"rules,omitempty"`   // the newest version that it knows; absent: it is not connected
	Problem   string      `json:"problem,omitempty"` // why the node that answers does not reach it
}

// Readiness is the reply of a node that should get requests. Nobody needs a right to ask, so it names no addresses.
type Readiness struct {
	Status  string            `json:"status"`            // ready
	Cluster *ClusterReadiness `json:"cluster,omitempty"` // absent: the node is in no cluster
}

// ClusterReadiness is what a node in a cluster says to everybody.
type ClusterReadiness struct {
	Node    string      `json:"node"`
	Role    ClusterRole `json:"role"`
	Term    uint64      `json:"term"`
	Leader  string      `json:"leader,omitempty"`
	Lag     uint64      `json:"lag"`     // entries that the node knows to be decided, and has not applied
	Members int         `json:"members"` // how many there are
}

// AddMemberTimeout is how long it may take to give a new member all events.
const AddMemberTimeout = 30 * time.Minute

// NewMember is the body that adds a member.
type NewMember struct {
	domain.Member
	Reason string `json:"reason,omitempty"`
}

// NewLeader is the body that gives the lead to a member.
type NewLeader struct {
	ID string `json:"id,omitempty"` // absent: the leader chooses the one that is the most current
}
