package raftstore

import (
	"encoding/json"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// changeContext is what a change of the members says beside what raft must know.
type changeContext struct {
	ID      uint64 `json:"id"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

// change carries out a change of the members.
func (a *applier) change(next mark, e *raftpb.Entry) (mark, error) {
	var v2 raftpb.ConfChangeV2
	if e.GetType() == raftpb.EntryConfChange {
		var v1 raftpb.ConfChange
		if err := proto.Unmarshal(e.GetData(), &v1); err != nil {
			return next, errEntry
		}
		v2 = raftpb.ConfChangeV2{Changes: v1.AsV2().GetChanges(), Context: v1.GetContext()}
	} else if err := proto.Unmarshal(e.GetData(), &v2); err != nil {
		return next, errEntry
	}
	next = next.clone()
	if len(v2.GetChanges()) > 0 {
		var c changeContext
		if err := json.Unmarshal(v2.GetContext(), &c); err != nil {
			return next, errEntry
		}
		if !next.allows(v2.GetChanges()[0], c) {
			return next, nil // raft takes a change as refused of which it hears nothing
		}
		next.change(v2.GetChanges()[0], c)
	}
	conf := make(chan *raftpb.ConfState, 1)
	a.store.engine.do(func(n *raft.RawNode) { conf <- n.ApplyConfChange(&v2) })
	select {
	case next.conf = <-conf:
	case <-a.store.engine.halt:
		return a.mark, nil
	}
	if _, err := a.carryOut(&pebblestore.Block{At: next.time}, &next); err != nil {
		return next, err
	}
	a.store.snapshots.outdate()
	return next, a.store.membersChanged(&next)
}

// allows says whether a change still makes sense: it was proposed without knowledge of the changes before it.
func (m *mark) allows(c *raftpb.ConfChangeSingle, with changeContext) bool {
	_, present := m.members[with.ID]
	switch c.GetType() {
	case raftpb.ConfChangeAddLearnerNode:
		_, taken := m.named(with.Name)
		return !present && !taken && !slices.Contains(m.removed, with.ID)
	case raftpb.ConfChangeAddNode:
		return present
	case raftpb.ConfChangeRemoveNode:
		return present && len(m.members) > 1
	}
	return false
}

// change notes a change. REQUIRES: the mark allows it, and shares nothing with another one.
func (m *mark) change(c *raftpb.ConfChangeSingle, with changeContext) {
	switch c.GetType() {
	case raftpb.ConfChangeAddLearnerNode:
		m.members[with.ID] = member{id: with.ID, name: with.Name, address: with.Address}
	case raftpb.ConfChangeRemoveNode:
		delete(m.members, with.ID)
		delete(m.writers, with.ID)
		m.removed = append(m.removed, with.ID)
	}
}
