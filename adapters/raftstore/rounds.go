package raftstore

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// rounds are how the leader puts the blocks of all nodes into the log. A round is the blocks that came while the round before was not
// committed. It costs each node one message, one sync and one commit of its store, whether it has one block or twenty.
//
// Nothing waits for a clock alone: a round begins at once if nothing is under way, unless other nodes have sent blocks in the rounds
// before. Their callers were answered by the end of the last round and call again, so their next blocks are about to come. Without the
// wait, the blocks of the nodes would go one by one for ever, each of them held up by those of the others. Where rounds come seldom,
// nobody waits: most blocks find nothing under way.
//
// INVARIANT: what is held may be dropped at any time, because a node sends a block again of which it hears nothing. The blocks of a node
// keep their order.
type rounds struct {
	held   [][]byte      // entries, whose stamp is yet to be filled in
	bytes  int           // of held
	nodes  []uint64      // that made them
	before [2][]uint64   // the nodes of the two rounds before
	newest uint64        // index of the newest entry of the log
	began  time.Duration // when the newest round began; a monotonic time
	cycle  time.Duration // from the begin of the round before to that of the newest one
	under  bool          // the newest round is not committed yet, as far as was looked
	took   time.Duration // from the begin of a round until it was committed; 0: none was yet
	until  time.Duration // how long the next round waits for blocks of other nodes; 0: it does not wait yet
	late   *time.Timer   // looks again when until has come
}

const (
	roundBytes = 64 << 10 // more bytes do not wait for the end of a round
	// A round waits for other nodes only if the two before began closer together than as many times what a round takes.
	seldom = 6
	// It waits for as many times what a round takes, since a node also waits for its callers (ADR 125), and for returnFor at most.
	waitsFor = 3
)

// hold has an entry put into the log with the next round. REQUIRES: raft is held.
func (r *rounds) hold(node uint64, entry []byte) {
	r.held, r.bytes = append(r.held, entry), r.bytes+len(entry)
	if !slices.Contains(r.nodes, node) {
		r.nodes = append(r.nodes, node)
	}
}

// due says whether the next round begins now, when the log is committed up to an index. REQUIRES: raft is held, and something is held.
func (r *rounds) due(committed uint64, now time.Duration) bool {
	switch {
	case r.bytes >= roundBytes:
		return true
	case committed < r.newest:
		return now-r.began >= gatherFor
	case r.complete():
		return true
	case r.until == 0:
		wait := min(waitsFor*r.took, returnFor)
		r.until = now + wait
		r.late.Reset(wait)
		return false
	}
	return now >= r.until
}

// complete says whether there are blocks of all nodes that sent blocks in the two rounds before, or the rounds come seldom.
func (r *rounds) complete() bool {
	if r.cycle > seldom*r.took {
		return true
	}
	for _, nodes := range r.before {
		for _, node := range nodes {
			if !slices.Contains(r.nodes, node) {
				return false
			}
		}
	}
	return true
}

// begin gives the entries of the next round. REQUIRES: raft is held.
func (r *rounds) begin(now time.Duration) [][]byte {
	if r.until != 0 {
		r.late.Stop() // it would still wake a thread
	}
	entries := r.held
	r.before[0], r.before[1], r.nodes = r.before[1], r.nodes, r.before[0][:0]
	r.held, r.bytes, r.until = nil, 0, 0
	r.began, r.cycle, r.under = now, now-r.began, true
	return entries
}

// look notes how long the newest round took, when the log is committed up to an index. REQUIRES: raft is held.
func (r *rounds) look(committed uint64, now time.Duration) {
	if r.under && committed >= r.newest {
		r.took, r.under = now-r.began, false
	}
}

// drop forgets what is held.
func (r *rounds) drop() { r.held, r.bytes, r.nodes = nil, 0, r.nodes[:0] }

// propose has the leader's raft append an entry, if this node leads. What is not proposed is sent again by its node.
func (e *engine) propose(body []byte) { e.do(e.proposal(unstamped(body))) }

// leave is propose, but the entry waits for raft's next turn. REQUIRES: the caller calls work when it holds no lock any more, or is in
// a turn.
func (e *engine) leave(body []byte) {
	if !e.halted() {
		e.inbox.leave(e.proposal(unstamped(body)))
	}
}

// proposal is what proposes an entry whose stamp is yet to be filled in. The entry belongs to raft from then on.
func (e *engine) proposal(entry []byte) func(*raft.RawNode) {
	return func(n *raft.RawNode) {
		body := entry[stampSize:]
		if !readable(body) {
			e.store.logger.Error("a node sent a block that cannot be understood; it is dropped")
			return
		}
		if n.BasicStatus().RaftState != raft.StateLeader {
			return
		}
		if of, err := decodeOrigin(body); err == nil {
			e.rounds.hold(of.node, entry)
		} else { // it is no block
			e.put(n, [][]byte{entry})
		}
	}
}

// put has raft append entries, which go to each follower in one message. REQUIRES: raft is held, and this node leads.
func (e *engine) put(n *raft.RawNode, entries [][]byte) {
	store := e.store.current()
	if store == nil {
		return
	}
	m := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(n.BasicStatus().ID)}
	for _, entry := range entries {
		m.Entries = append(m.Entries, &raftpb.Entry{Data: stamp(entry, e.store.applier.at().rules, store.Stamp())})
	}
	_ = n.Step(m) // what raft drops is sent again by its node
}

// round puts the blocks that are held into the log, if the next round is due. REQUIRES: raft is held.
func (e *engine) round() {
	r := &e.rounds
	if len(r.held) == 0 && !r.under {
		return
	}
	status, now := e.node.BasicStatus(), e.store.monotonic()
	r.look(status.GetCommit(), now)
	if len(r.held) == 0 {
		return
	}
	if status.RaftState != raft.StateLeader {
		r.drop()
		return
	}
	if r.due(status.GetCommit(), now) {
		e.put(e.node, r.begin(now))
	}
}
