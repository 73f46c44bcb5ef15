package raftstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

type progress = tracker.Progress

// change is a change of the members that an operator asks for.
type change struct {
	Add      string `json:"add,omitempty"` // name of the node
	Address  string `json:"address,omitempty"`
	Remove   string `json:"remove,omitempty"`
	Transfer string `json:"transfer,omitempty"` // "": to the member that has the most of the log
	To       bool   `json:"to,omitempty"`       // the change is a transfer
}

// ErrMembers refuses a change of the members.
var ErrMembers = errors.New("the members of the cluster stay as they are")

func refuseMembers(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMembers, fmt.Sprintf(format, args...))
}

// Add makes the node at an address a member, and waits until it votes. The node must run with Join, and must belong to no
// cluster. It first receives the events without a vote.
func (s *Store) Add(ctx context.Context, name, address string) error {
	return s.ask(ctx, change{Add: name, Address: address})
}

// Remove removes a member, which may be dead, and waits until it is removed. Its name may be used again by a node with an empty
// data folder.
func (s *Store) Remove(ctx context.Context, name string) error {
	m := s.applier.at()
	found, known := m.named(name)
	for attempt := 0; ; attempt++ {
		err := s.ask(ctx, change{Remove: name})
		if !known || attempt == 2 || !errors.Is(err, eventstore.ErrUnavailable) {
			return err
		}
		// A leader that is removed gives up the lead first, and may have ended its connections before it could answer.
		for range electionTicks {
			if m := s.applier.at(); m.members[found.id].id == 0 {
				return nil
			}
			if !sleep(ctx, s.tick()) {
				return ctx.Err()
			}
		}
	}
}

// Transfer has another member lead: the named one, or ("") the one that has the most of the log.
func (s *Store) Transfer(ctx context.Context, name string) error {
	return s.ask(ctx, change{Transfer: name, To: true})
}

// ask carries out a change, or has the leader do so.
func (s *Store) ask(ctx context.Context, c change) error {
	for {
		if err := s.unreadable(); err != nil {
			return err
		}
		v := s.engine.view.Load()
		if v.role == raft.StateLeader {
			return s.carryOut(ctx, c)
		}
		m := s.applier.at()
		if leader, ok := m.members[v.leader]; ok {
			return s.askLeader(ctx, leader, c)
		}
		if !sleep(ctx, s.tick()) {
			return ctx.Err()
		}
	}
}

func (s *Store) askLeader(ctx context.Context, leader member, c change) error {
	conn, _, err := s.call(ctx, leader.name, leader.address, hello{Purpose: forChange, To: leader.id, Change: &c})
	if err != nil {
		return fmt.Errorf("%w: the leader %s cannot be asked: %w", eventstore.ErrUnavailable, leader.name, err)
	}
	defer s.conns.with(conn)()
	ended := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer ended()
	var a answer
	if err := readJSON(conn, frameAnswer, &a); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("%w: the leader %s was lost: %w", eventstore.ErrUnavailable, leader.name, err))
	}
	if a.Again {
		return fmt.Errorf("%w: %s", eventstore.ErrUnavailable, a.Refused)
	}
	if a.Refused != "" {
		return refuseMembers("%s", a.Refused)
	}
	return nil
}

// carryOut carries out a change. REQUIRES: this node leads, or leads no longer, and then the change fails.
func (s *Store) carryOut(ctx context.Context, c change) error {
	switch {
	case c.Add != "":
		return s.add(ctx, c.Add, c.Address)
	case c.Remove != "":
		return s.remove(ctx, c.Remove)
	case c.To:
		return s.transfer(ctx, c.Transfer)
	}
	return refuseMembers("nothing is asked for")
}

func (s *Store) add(ctx context.Context, name, address string) error {
	m := s.applier.at()
	found, known := m.named(name)
	if known && found.address != address {
		return refuseMembers("%s is a member already, at %s", name, found.address)
	}
	if !known {
		conn, a, err := s.call(ctx, name, address, hello{Purpose: forIdentity})
		if err != nil {
			return refuseMembers("%s cannot be reached at %s: %v", name, address, err)
		}
		_ = conn.Close()
		if a.Cluster != uuid.Nil {
			return refuseMembers("%s belongs to a cluster already", name)
		}
		if a.Events {
			return refuseMembers("%s has events of its own: its data folder must be empty", name)
		}
		if why := s.outdated(name, told(a.Rules)); why != "" {
			return refuseMembers("%s", why)
		}
		found = member{id: a.ID, name: name, address: address}
	}
	add := changeContext{ID: found.id, Name: name, Address: address}
	err := s.until(ctx, func(m *mark) bool { return m.members[found.id].id != 0 }, func() { s.proposeChange(raftpb.ConfChangeAddLearnerNode, add) })
	if err != nil {
		return err
	}
	return s.until(ctx, func(m *mark) bool { return !m.learner(found.id) }, s.promote)
}

func (s *Store) remove(ctx context.Context, name string) error {
	m := s.applier.at()
	found, ok := m.named(name)
	switch {
	case !ok:
		return refuseMembers("%s is no member", name)
	case len(m.members) == 1:
		return refuseMembers("%s is the only member", name)
	}
	if found.id == s.log.who().ID {
		if err := s.transfer(ctx, ""); err != nil {
			return err
		}
		return s.ask(ctx, change{Remove: name})
	}
	propose := func() { s.proposeChange(raftpb.ConfChangeRemoveNode, changeContext{ID: found.id}) }
	return s.until(ctx, func(m *mark) bool { return m.members[found.id].id == 0 }, propose)
}

// until proposes a change until it is carried out: raft drops a change while another one is under way.
func (s *Store) until(ctx context.Context, done func(*mark) bool, propose func()) error {
	for n := 0; ; n++ {
		m := s.applier.at()
		if done(&m) {
			return nil
		}
		if err := s.unreadable(); err != nil {
			return err
		}
		if s.engine.view.Load().role != raft.StateLeader {
			return fmt.Errorf("%w: this node leads no longer; ask again", eventstore.ErrUnavailable)
		}
		if n%electionTicks == 0 {
			propose()
		}
		if !sleep(ctx, s.tick()) {
			return ctx.Err()
		}
	}
}

func (s *Store) proposeChange(kind raftpb.ConfChangeType, c changeContext) {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and a number can always be written
	}
	s.engine.do(func(n *raft.RawNode) {
		_ = n.ProposeConfChange(&raftpb.ConfChangeV2{ // who waits proposes it again
			Changes: []*raftpb.ConfChangeSingle{{Type: kind.Enum(), NodeId: new(c.ID)}}, Context: b,
		})
	})
}

func (s *Store) transfer(ctx context.Context, name string) error {
	m := s.applier.at()
	own := s.log.who().ID
	to, ok := m.named(name)
	switch {
	case name == "":
		match := s.engine.view.Load().match
		for id, member := range m.members {
			if id != own && !m.learner(id) && (to.id == 0 || match[id] > match[to.id]) {
				to = member
			}
		}
		if to.id == 0 {
			return refuseMembers("no other member could lead")
		}
	case !ok:
		return refuseMembers("%s is no member", name)
	case m.learner(to.id):
		return refuseMembers("%s does not vote yet", name)
	case to.id != own && !s.peers.connected(to.id):
		return refuseMembers("%s is not connected", name)
	}
	if to.id == own {
		return nil
	}
	s.engine.do(func(n *raft.RawNode) { n.TransferLeader(to.id) })
	for range 4 * electionTicks {
		if v := s.engine.view.Load(); v.leader != own && v.leader != 0 {
			return nil
		}
		if !sleep(ctx, s.tick()) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%w: %s did not take the lead in time", eventstore.ErrUnavailable, to.name)
}

// promote gives a vote to each learner that has nearly all of the log. It is called regularly.
func (s *Store) promote() {
	v := s.engine.view.Load()
	if v.role != raft.StateLeader {
		return
	}
	m := s.applier.at()
	for _, id := range m.conf.GetLearners() {
		if v.match[id]+promoteWithin >= v.committed && v.match[id] > 0 {
			s.proposeChange(raftpb.ConfChangeAddNode, changeContext{ID: id})
			return // one at a time
		}
	}
}

// stepDown asks another node to lead if the disk of this one is full or takes no writes. It is called regularly.
func (s *Store) stepDown() {
	store := s.current()
	if store == nil || s.engine.view.Load().role != raft.StateLeader || !store.Full() && !s.engine.stuck() {
		return
	}
	m := s.applier.at()
	if len(m.members) == 1 {
		return
	}
	s.logger.Warn("the disk of this node is full or takes no writes: another node is asked to lead")
	if err := s.transfer(s.lives, ""); err != nil {
		s.logger.Warn("no other node takes the lead", "cause", err)
	}
}

// promoteWithin is how many entries a learner may lack when it gets its vote.
const promoteWithin = 256

// maintain cuts the log, removes old checkpoints, promotes learners and begins later versions of the rules.
func (s *Store) maintain() {
	ticker := time.NewTicker(4 * s.tick())
	defer ticker.Stop()
	for {
		select {
		case <-s.lives.Done():
			return
		case <-s.closing:
			return
		case <-ticker.C:
		}
		s.promote()
		s.raiseRules()
		s.stepDown()
		s.snapshots.expire()
		if err := s.cut(); err != nil {
			s.fail(fmt.Errorf("cut the log: %w", err))
			return
		}
	}
}
