package raftstore

import (
	"slices"

	"go.etcd.io/raft/v3"
)

// A leader of which nothing is heard may be slow, so the others wait for an election timeout before they vote for another one. But
// when the process of the leader has ended, the system refuses connections to its port. Then there is nothing to wait for
// (ADR 080).

// turnTicks is how long a node leaves the election to another one whose turn is before its own.
const turnTicks = 3

// ended notes that nobody listens any more where a member did: its process has ended, or ends. If the member led, the others do not
// wait until they miss its heartbeats. They ask for votes one after the other, so that the votes are not split.
func (e *engine) ended(id uint64) {
	voters := slices.DeleteFunc(slices.Sorted(slices.Values(e.store.applier.at().conf.GetVoters())), func(v uint64) bool { return v == id })
	place := slices.Index(voters, e.store.log.who().ID)
	e.do(func(n *raft.RawNode) {
		status := n.BasicStatus()
		if place < 0 || status.Lead != id || status.RaftState != raft.StateFollower || n.ForgetLeader() != nil {
			return
		}
		e.turns = turns{after: id, left: 3, wait: 1 + place*turnTicks, round: len(voters) * turnTicks}
	})
}

// turns are those of a node in an election that begins because the leader's process has ended. Another node may learn of that
// later, and gives no vote before, so each node has several turns. The zero value: there are none.
type turns struct {
	after uint64 // the leader whose process has ended
	left  int
	wait  int // ticks until the next one
	round int // ticks from one to the next
}

// awaitTurn asks the others for their votes when it is this node's turn, until there is a leader.
func (e *engine) awaitTurn() {
	if e.turns.left == 0 {
		return
	}
	switch leader := e.node.BasicStatus().Lead; {
	case leader == raft.None:
	case leader != e.turns.after || e.store.peers.connected(leader):
		e.turns = turns{}
		return
	default: // a message that the leader had sent before it ended
		_ = e.node.ForgetLeader()
	}
	if e.turns.wait--; e.turns.wait == 0 {
		e.turns.left--
		e.turns.wait = e.turns.round
		_ = e.node.Campaign() // it fails while members are changed; without a leader each node asks for votes after a while
	}
}
