package raftstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
)

// begin has the node take part: in its cluster, or in one that it founds, or once it is added to one.
func (s *Store) begin() {
	who := s.log.who()
	var err error
	switch {
	case who.Cluster == uuid.Nil && s.config.Join:
		return // another node speaks to this one when it is added
	case who.Cluster == uuid.Nil:
		err = s.meet()
	case s.lacksStore():
		err = s.recover()
	default:
		err = s.run()
	}
	if err != nil && s.lives.Err() == nil {
		s.fail(err)
	}
}

// lacksStore says whether the store is lost, or ends before the log begins. A node that was added, and has received nothing yet, lacks
// none. Another node may have spoken to this one before it began: then the engine runs, and what is missing comes to it.
func (s *Store) lacksStore() bool {
	s.running.Lock()
	defer s.running.Unlock()
	if s.runs {
		return false
	}
	s.log.mu.Lock()
	cut, last := s.log.cut, s.log.last
	s.log.mu.Unlock()
	if s.current() == nil {
		return cut != 0 || last != 0
	}
	return s.applier.at().index < cut
}

// adopt makes a node that belongs to no cluster one of a cluster whose member speaks to it.
func (s *Store) adopt(cluster uuid.UUID) error {
	s.running.Lock()
	who := s.log.who()
	if exists, err := s.hasStore(); err != nil || exists {
		s.running.Unlock()
		return errors.Join(err, errors.New("the node has events of its own"))
	}
	if who.Cluster == uuid.Nil {
		if err := s.log.saveIdentity(func(i *identity) { i.Cluster, i.Founding = cluster, false }); err != nil {
			s.running.Unlock()
			return err
		}
	}
	s.running.Unlock()
	return s.run()
}

// meet waits until all nodes of Members answer, and founds a cluster if this node is the one to do so. The node that has
// events founds, or else the node whose name is the first. It waits if another node founds.
func (s *Store) meet() error {
	if s.config.Members[s.config.Node] == "" {
		return fmt.Errorf("node %s is not among the nodes of the cluster", s.config.Node)
	}
	own := s.introduce()
	said := ""
	for {
		members := map[uint64]member{own.ID: {id: own.ID, name: s.config.Node, address: s.config.Members[s.config.Node]}}
		founder, missing := "", ""
		events, rules := 0, s.newest()
		for _, name := range slices.Sorted(maps.Keys(s.config.Members)) {
			a := own
			if name != s.config.Node {
				c, other, err := s.call(s.lives, name, s.config.Members[name], hello{Purpose: forIdentity})
				if err != nil {
					missing = fmt.Sprintf("%s: %v", name, err)
					continue
				}
				_ = c.Close()
				a = other
			}
			if a.Cluster != uuid.Nil {
				if id, ok := a.Members[s.config.Node]; ok && id != own.ID {
					return fmt.Errorf("%w (node %s knows another log of it)", ErrLogLost, name)
				}
				missing = fmt.Sprintf("%s belongs to a cluster, which must add this node", name)
				continue
			}
			rules = min(rules, told(a.Rules))
			members[a.ID] = member{id: a.ID, name: name, address: s.config.Members[name]}
			if founder == "" || a.Events && events == 0 {
				founder = name
			}
			if a.Events {
				events++
			}
		}
		switch {
		case s.log.who().Cluster != uuid.Nil: // another node has founded it meanwhile
			return nil
		case events > 1:
			return errors.New("more than one node of the cluster has events already: only one may")
		case missing == "" && founder == s.config.Node:
			return s.found(members, rules)
		case missing != said && missing != "":
			s.logger.Info("the nodes of the cluster have not met yet", "missing", missing)
		}
		said = missing
		if !sleep(s.lives, 4*s.tick()) {
			return nil
		}
	}
}

// found makes the first state of a cluster: the store of this node, at the first entry of the log. The other nodes receive it
// as a checkpoint. The id of the store is that of the cluster, unless the store is older.
func (s *Store) found(members map[uint64]member, rules uint64) error {
	s.running.Lock()
	if s.log.who().Cluster != uuid.Nil {
		s.running.Unlock()
		return nil
	}
	err := s.foundLocked(members, rules)
	s.running.Unlock()
	if err != nil {
		return fmt.Errorf("found the cluster: %w", err)
	}
	s.logger.Info("the cluster is founded", "members", len(members))
	return s.run()
}

func (s *Store) foundLocked(members map[uint64]member, rules uint64) error {
	cluster := uuid.New()
	if err := s.log.saveIdentity(func(i *identity) { i.Founding = true }); err != nil {
		return err
	}
	exists, err := s.hasStore()
	if err != nil {
		return err
	}
	if exists { // what it has to record for itself, it records now
		alone, err := pebblestore.Open(s.folder(storeFolder), s.options(func(o *pebblestore.Options) { o.Alone = true }))
		if err != nil {
			return err
		}
		if err := alone.Close(); err != nil {
			return err
		}
	}
	store, err := s.openReplica(cluster)
	if err != nil {
		return err
	}
	if rules < formatRules && store.HasNewestFormat() {
		return errors.Join(errors.New("a founder runs a version of rollcall that cannot read this node's events: use this version there, too"), store.Close())
	}
	m := mark{cluster: cluster, index: 1, term: 1, writers: map[uint64]origin{}, conf: &raftpb.ConfState{}, members: members, rules: rules}
	m.time = store.Stamp()
	m.conf.Voters = slices.Sorted(maps.Keys(members))
	first := pebblestore.Block{At: m.time, Mark: m.encode()}
	if s.config.Notes != nil {
		first.Notes, err = s.config.Notes()
	}
	if err == nil {
		_, err = store.Apply(nil, &first)
	}
	if err == nil {
		err = store.Sync()
	}
	if err == nil {
		err = s.log.reset(1, 1, &raftpb.HardState{Term: new(uint64(1)), Commit: new(uint64(1))})
	}
	if err == nil {
		err = s.log.saveIdentity(func(i *identity) { i.Cluster, i.Founding, i.Installing = cluster, false, false })
	}
	if err == nil {
		err = s.use(store)
	}
	if err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

// recover gets the store of a node from another one: it is lost, or the log no longer has what follows.
func (s *Store) recover() error {
	s.logger.Warn("the node's store is lost, or too old for its log: it is copied from another node")
	for {
		for name, address := range s.log.who().Members {
			if name == s.config.Node {
				continue
			}
			err := s.fetch(name, address)
			if err == nil {
				return s.run()
			}
			s.logger.Warn("the store could not be copied", "from", name, "cause", err)
			if s.failure.Load() != nil {
				return nil
			}
		}
		if len(s.log.who().Members) < 2 {
			return errors.New("the store is lost, and there is no other node that has it: restore a backup")
		}
		if !sleep(s.lives, 10*s.tick()) {
			return nil
		}
	}
}

// fetch copies the store of another node. Of the log it keeps what follows the copy.
func (s *Store) fetch(name, address string) error {
	c, _, err := s.call(s.lives, name, address, hello{Purpose: forCheckpoint})
	if err != nil {
		return err
	}
	defer s.conns.with(c)()
	m, err := s.receiveCheckpoint(c)
	if err != nil {
		return err
	}
	index, term := m.GetSnapshot().GetMetadata().GetIndex(), m.GetSnapshot().GetMetadata().GetTerm()
	s.log.mu.Lock()
	state, last, cut := cloneState(s.log.state), s.log.last, s.log.cut
	s.log.mu.Unlock()
	if index < cut || index < state.GetCommit() && index > last {
		return fmt.Errorf("node %s is at entry %d, which is not enough", name, index)
	}
	if term > state.GetTerm() {
		state.Term, state.Vote = new(term), new(uint64(0))
	}
	state.Commit = new(max(state.GetCommit(), index))
	if known, err := s.log.Term(index); err == nil && known == term {
		err := s.log.saveIdentity(func(i *identity) { i.Installing = true })
		if err != nil {
			return err
		}
		b := &logBatch{}
		b.state = state
		if err := s.log.write(b); err != nil {
			return err
		}
	} else if err := s.log.reset(index, term, state); err != nil {
		return err
	}
	return s.replaceStore()
}

func cloneState(s *raftpb.HardState) *raftpb.HardState {
	return proto.CloneOf(s)
}
