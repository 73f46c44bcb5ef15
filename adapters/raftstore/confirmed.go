package raftstore

import (
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// confirmed is what this node confirmed last to other ones: which entries it has.
type confirmed struct {
	confirming sync.Mutex
	last       map[uint64]confirmation // by node
}

type confirmation struct {
	term, index uint64
	at          time.Duration // a monotonic time
}

// confirmation says whether a message confirms something to another node.
func (e *engine) confirmation(m *raftpb.Message) bool {
	return m.GetType() == raftpb.MsgAppResp && !m.GetReject() && m.GetTo() != e.store.log.who().ID
}

// repeats says whether a message confirms what this node confirmed a moment ago. The leader has raft send a message to tell how far
// the log is committed, and raft answers that, too. A leader that really needs the answer asks again with its next heartbeat,
// which is later than a moment.
func (e *engine) repeats(m *raftpb.Message) bool {
	if !e.confirmation(m) {
		return false
	}
	e.confirming.Lock()
	defer e.confirming.Unlock()
	last := e.last[m.GetTo()]
	return last.term == m.GetTerm() && last.index == m.GetIndex() && e.store.monotonic()-last.at < e.store.tick()/2
}

// confirms says whether a message that is about to be sent is a repetition. If not, the message counts as sent.
func (e *engine) confirms(m *raftpb.Message) (again bool) {
	if again = e.repeats(m); !again && e.confirmation(m) {
		e.confirming.Lock()
		defer e.confirming.Unlock()
		e.last[m.GetTo()] = confirmation{m.GetTerm(), m.GetIndex(), e.store.monotonic()}
	}
	return again
}

// waits says whether a message to the appender may wait for the next one. It may if it only tells how far the log is committed, which
// needs no sync, and if nobody waits for an answer. REQUIRES: raft is held.
func (e *engine) waits(m *raftpb.Message) bool {
	same := true
	if state := hardState(m); state != nil {
		same = state.GetTerm() == e.asked.Term && state.GetVote() == e.asked.Vote
		e.asked = closedLog{Term: state.GetTerm(), Vote: state.GetVote()}
	}
	return same && len(m.GetEntries()) == 0 && raft.IsEmptySnap(m.GetSnapshot()) &&
		!slices.ContainsFunc(m.GetResponses(), func(r *raftpb.Message) bool { return !e.repeats(r) })
}
