package raftstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-registry/rollcall/adapters/web/socket"
)

// connections are those that Close ends.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	shut bool
}

// with notes a connection, and gives a function that closes it.
func (c *connections) with(conn net.Conn) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[net.Conn]struct{})
	}
	c.open[conn] = struct{}{}
	if c.shut {
		_ = conn.Close()
	}
	return func() {
		c.mu.Lock()
		delete(c.open, conn)
		c.mu.Unlock()
		_ = conn.Close()
	}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	for conn := range c.open {
		_ = conn.Close()
	}
}

// accept serves the connections of other nodes until the listener is closed.
func (s *Store) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.closing:
				return
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			s.logger.Error("a connection of a node could not be accepted", "cause", err)
			if !sleep(s.lives, s.tick()) {
				return
			}
			continue
		}
		s.tasks.Go(func() {
			defer s.conns.with(c)()
			if err := s.serve(c); err != nil {
				s.logger.Debug("a connection of a node ended", "cause", err)
			}
		})
	}
}

// serve serves one connection.
func (s *Store) serve(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(helloTimeout))
	var h hello
	if err := readJSON(c, frameHello, &h); err != nil {
		return err
	}
	if err := s.network.Authentic(c, h.Name); err != nil {
		return errors.Join(err, writeJSON(c, frameAnswer, answer{Refused: err.Error()}))
	}
	a := s.introduce()
	a.Refused, a.Removed = s.refuse(h)
	if a.Refused == "" && h.Purpose != forIdentity {
		a.Refused = s.outdated(h.Name, told(h.Rules))
		a.TooOld = a.Refused != ""
	}
	if err := writeJSON(c, frameAnswer, a); err != nil || a.Refused != "" {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	switch h.Purpose {
	case forMessages:
		s.peers.learn(member{id: h.From, name: h.Name, address: h.Address})
		return s.readMessages(c, h)
	case forSnapshot:
		reply := s.introduce()
		if err := s.snapshots.receive(c); err != nil {
			reply.Refused = err.Error()
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		return writeJSON(c, frameAnswer, reply)
	case forCheckpoint:
		return s.serveCheckpoint(c)
	case forChange:
		reply := s.introduce()
		if err := s.carryOut(s.lives, *h.Change); err != nil {
			reply.Refused = strings.TrimPrefix(err.Error(), ErrMembers.Error()+": ")
			reply.Again = !errors.Is(err, ErrMembers)
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		return writeJSON(c, frameAnswer, reply)
	}
	return nil
}

// introduce says who this node is.
func (s *Store) introduce() answer {
	who := s.log.who()
	a := answer{ID: who.ID, Name: who.Name, Cluster: who.Cluster, Leader: s.engine.view.Load().leader, Members: map[string]uint64{}, Rules: s.newest()}
	m := s.applier.at()
	for id, member := range m.members {
		a.Members[member.name] = id
	}
	if who.Cluster == uuid.Nil {
		a.Events, _ = s.hasStore() // the begin of this node says what is wrong with its store
	}
	return a
}

// refuse says why a hello is refused; "": it is not.
func (s *Store) refuse(h hello) (why string, removed bool) {
	who := s.log.who()
	select {
	case <-s.failed:
		return "the node has stopped", false
	default:
	}
	switch h.Purpose {
	case forIdentity:
		return "", false
	case forMessages, forSnapshot, forCheckpoint, forChange:
	default:
		return fmt.Sprintf("it does not know the purpose %q", h.Purpose), false
	}
	if h.To != 0 && h.To != who.ID {
		return "it has another log than the one that is meant", false
	}
	if who.Cluster == uuid.Nil {
		if h.Purpose == forChange || h.Purpose == forCheckpoint || h.To == 0 || h.Cluster == uuid.Nil {
			return "it belongs to no cluster", false
		}
		if err := s.adopt(h.Cluster); err != nil {
			return err.Error(), false
		}
		return "", false
	}
	if h.Cluster != who.Cluster {
		return "it belongs to another cluster", false
	}
	m := s.applier.at()
	if slices.Contains(m.removed, h.From) {
		return "the cluster has removed the node", true
	}
	if known, ok := m.members[h.From]; ok && known.name != h.Name {
		return "it knows the node under another name", false
	}
	if h.Purpose == forChange && h.Change == nil {
		return "the change is missing", false
	}
	return "", false
}

// readMessages takes messages of raft and forwarded blocks until the connection ends. It ends the connection of a node that the
// cluster has removed: the removal may not have reached the node, and nobody sends it anything any more.
func (s *Store) readMessages(c net.Conn, h hello) error {
	r := bufio.NewReaderSize(readerOf(c), 64<<10)
	var buffer []byte // of the frames of raft, whose content proto.Unmarshal copies
	for {
		kind, size, err := readHead(r)
		if err != nil {
			return err
		}
		if slices.Contains(s.applier.at().removed, h.From) {
			return fmt.Errorf("node %s was removed", h.Name) // which it learns when it connects again
		}
		var step func(*raft.RawNode)
		switch kind {
		case frameRaft:
			if cap(buffer) < size || cap(buffer) > keptBuffer {
				buffer = make([]byte, size)
			}
			if _, err := io.ReadFull(r, buffer[:size]); err != nil {
				return err
			}
			m := &raftpb.Message{}
			if err := proto.Unmarshal(buffer[:size], m); err != nil {
				return err
			}
			if m.GetFrom() != h.From {
				return fmt.Errorf("node %s sends a message in the name of another", h.Name)
			}
			step = s.engine.step(m)
		case frameForward:
			entry := make([]byte, stampSize+size)
			if _, err := io.ReadFull(r, entry[stampSize:]); err != nil {
				return err
			}
			if of, err := decodeOrigin(entry[stampSize:]); err != nil || of.node != h.From {
				return fmt.Errorf("node %s forwards what is not its own block", h.Name)
			}
			step = s.engine.proposal(entry)
		default:
			return fmt.Errorf("frame %q came where a message was expected", kind)
		}
		if whole(r) { // one turn of raft does for all frames that are there
			s.engine.inbox.leave(step)
		} else {
			s.engine.doNow(step)
		}
	}
}

// serveCheckpoint sends a checkpoint to a node whose store is lost.
func (s *Store) serveCheckpoint(c net.Conn) error {
	p := s.snapshots
	p.mu.Lock()
	made := p.makeLocked()
	p.mu.Unlock()
	select {
	case <-made:
	case <-s.lives.Done():
		return s.lives.Err()
	}
	checkpoint := p.take(0)
	if checkpoint == nil {
		return s.notReady()
	}
	defer p.give(checkpoint)
	return s.sendCheckpoint(c, &raftpb.Message{Snapshot: checkpoint.snapshot()}, checkpoint)
}

// readerOf reads from a connection, past the runtime where it can (see package socket). REQUIRES: no buffer of a read is empty.
func readerOf(c net.Conn) io.Reader {
	if plain := socket.Of(c); plain != nil {
		return plain
	}
	return c
}
