package raftstore

import (
	"cmp"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
)

// Role is what a node is in its cluster.
type Role string

// The roles.
const (
	Leader    Role = "leader"
	Follower  Role = "follower"
	Candidate Role = "candidate" // it has no leader, and asks for votes
	Learner   Role = "learner"   // it receives the log, and does not vote yet
	Outside   Role = "outside"   // it belongs to no cluster yet
	Stopped   Role = "stopped"   // it has failed, or was removed
)

func roleOf(state raft.StateType) Role {
	switch state {
	case raft.StateLeader:
		return Leader
	case raft.StateFollower:
		return Follower
	}
	return Candidate
}

// Status is the state of a node, for people and metrics. Counters count from the start of the process.
type Status struct {
	Node    string
	Cluster string // "": the node belongs to none yet
	Role    Role
	Term    uint64
	Leader  string        // name; "": this node knows of none
	Without time.Duration // how long this node has had no leader; 0: it has one
	// Committed is the newest entry that this node knows to be in the log of a majority, Applied the newest that it has
	// carried out. The difference is its lag, as far as it knows.
	Committed, Applied uint64
	Rules              uint64 // version of the rules of the cluster
	Members            []MemberStatus

	Proposals Duration // blocks of this node, from the call to the answer
	Resent    uint64   // blocks that were sent again
	Waiting   int      // calls that wait for an answer
	Apply     Duration // blocks that were carried out
	Elections uint64   // leaders that this node has seen take over
	Sent      uint64   // checkpoints sent
	Received  uint64   // checkpoints received and installed
	LogBytes  uint64   // of the log's entries
	LogFirst  uint64   // the oldest entry that the log has
	Err       error    // why the node takes no appends
}

// MemberStatus is the state of a member.
type MemberStatus struct {
	Name    string
	Address string
	Voter   bool // it votes; a learner does not yet
	Leader  bool
	// Behind is how many entries the member lacks, as far as the leader knows. Only the leader knows; -1: this node is not.
	Behind int64
	// Connected says that this node can send to the member. Problem says why it cannot.
	Connected bool
	Problem   string
	// Rules is the newest version of the rules that the member knows; 0: it is not connected.
	Rules uint64
}

// Status gives the state of the node.
func (s *Store) Status() Status {
	who, v, m := s.log.who(), s.engine.view.Load(), s.applier.at()
	st := Status{
		Node: s.config.Node, Role: roleOf(v.role), Term: v.term, Leader: m.members[v.leader].name, Without: s.engine.withoutLeader(),
		Committed: max(v.committed, m.index), Applied: m.index, Elections: s.engine.elections.Load(), LogBytes: s.log.size(), Rules: m.rules, Err: s.Err(),
	}
	first, _ := s.log.FirstIndex() // gives no error
	st.LogFirst = first
	switch {
	case s.failure.Load() != nil:
		st.Role = Stopped
	case len(m.members) == 0:
		st.Role = Outside
	case m.learner(who.ID):
		st.Role = Learner
	}
	if len(m.members) > 0 {
		st.Cluster = m.cluster.String()
	}
	s.proposals.mu.Lock()
	st.Proposals, st.Resent, st.Waiting = s.proposals.sum, s.proposals.resends, len(s.proposals.places)
	s.proposals.mu.Unlock()
	s.applier.mu.Lock()
	st.Apply = s.applier.sum
	s.applier.mu.Unlock()
	s.snapshots.mu.Lock()
	st.Sent, st.Received = s.snapshots.sent, s.snapshots.received
	s.snapshots.mu.Unlock()
	for _, member := range m.members {
		status := MemberStatus{Name: member.name, Address: member.address, Voter: !m.learner(member.id), Leader: member.id == v.leader, Behind: -1}
		if v.role == raft.StateLeader {
			status.Behind = int64(v.committed) - int64(min(v.match[member.id], v.committed))
		}
		if peer := s.peers.find(member.id); peer != nil {
			status.Connected, status.Problem = peer.state()
			status.Rules = peer.knows()
		} else if member.id == who.ID {
			status.Connected, status.Rules = true, s.newest()
		}
		st.Members = append(st.Members, status)
	}
	slices.SortFunc(st.Members, func(a, b MemberStatus) int { return cmp.Compare(a.Name, b.Name) })
	return st
}

func (p *peer) state() (connected bool, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected, p.problem
}

// nameOf is the name of a member; "": there is none with this id.
func (s *Store) nameOf(id uint64) string {
	m := s.applier.at()
	return m.members[id].name
}

// Leads implements eventstore.Leadership. A node leads once it has applied an entry of its own term, and with it all entries
// of earlier terms.
func (s *Store) Leads() (term uint64, ok bool) {
	v := s.engine.view.Load()
	if v.role != raft.StateLeader || s.failure.Load() != nil {
		return 0, false
	}
	return v.term, s.applier.at().term == v.term
}
