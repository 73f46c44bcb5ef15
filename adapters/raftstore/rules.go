package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/projections/packed"
)

// The rules say what entries of the log look like, and what the applier makes of them. They have versions. A node knows all
// versions up to its newest one, and tells it in the hello and in the answer to one. The mark has the version that counts
// from an entry on. A later version begins with an entry of the log, which the leader writes when all members know that version. A
// node that does not know it stops there: it cannot know what the other nodes make of the entries that follow.
//
// A change of what an entry looks like, or of what the applier makes of it, is a new version: the applier goes by the mark's
// version, so that entries of earlier versions keep their meaning. So is a format of the store that nodes of an earlier version of rollcall
// do not read: until later rules begin, a node may go back to that version, and may copy its store from any other node.
const (
	newestRules = 2 + later
	formatRules = 2 // the first version whose nodes read the newest format of the store
)

// ErrTooOld refuses a node whose version of rollcall does not know the rules of its cluster.
var ErrTooOld = errors.New("this version of rollcall is too old for its cluster: use the one that ran here before, or a newer one")

func tooOld(needs, knows uint64) error {
	return fmt.Errorf("%w (the cluster has version %d of its rules, this node knows version %d)", ErrTooOld, needs, knows)
}

// newest is the newest version of the rules that this node knows.
func (s *Store) newest() uint64 {
	if s.config.Rules != 0 {
		return s.config.Rules
	}
	return newestRules
}

// told is the version that another node has told.
func told(rules uint64) uint64 { return max(rules, 1) }

func encodeRules(version uint64) []byte { return binary.AppendUvarint([]byte{bodyRules}, version) }

func decodeRules(body []byte) (version uint64, err error) {
	r := reader{Reader: packed.Reader{B: body[1:]}}
	version = r.Uvarint()
	return version, r.end()
}

// rules begins a later version of the rules.
func (a *applier) rules(next mark, b *pebblestore.Block, body []byte) (mark, error) {
	version, err := decodeRules(body)
	if err != nil {
		return next, err
	}
	if knows := a.store.newest(); version > knows {
		return next, tooOld(version, knows)
	}
	if version > next.rules {
		a.store.logger.Info("a later version of the cluster's rules begins", "version", version, "before", next.rules)
		next.rules = version
	}
	if _, err = a.carryOut(b, &next); err != nil {
		return next, err
	}
	return next, next.shapes(a.store.current())
}

// shapes has a store write in the format that the version of the rules allows. REQUIRES: no entry is being applied.
func (m *mark) shapes(store *pebblestore.Store) error {
	if m.rules < formatRules {
		return nil
	}
	return store.TakeNewestFormat()
}

// raiseRules begins the newest version of the rules that all members know. A member that is not connected knows the present
// one only, as far as this node knows. It is called regularly.
func (s *Store) raiseRules() {
	if s.engine.view.Load().role != raft.StateLeader {
		return
	}
	m := s.applier.at()
	version := s.newest()
	for id := range m.members {
		if id != s.log.who().ID {
			version = min(version, s.peers.find(id).knows())
		}
	}
	if version > m.rules {
		s.engine.propose(encodeRules(version))
	}
}

// knows is the newest version of the rules that the peer's process knows; 0: it is not connected.
func (p *peer) knows() uint64 {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.connected {
		return 0
	}
	return p.rules
}

// outdated says why a node that knows the rules up to a version cannot take part; "": it can.
func (s *Store) outdated(name string, knows uint64) string {
	if m := s.applier.at(); knows < m.rules {
		return fmt.Sprintf("the version of rollcall on node %s is too old: the cluster has version %d of its rules, the node knows version %d", name, m.rules, knows)
	}
	return ""
}
