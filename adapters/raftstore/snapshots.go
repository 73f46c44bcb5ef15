package raftstore

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// snapshots gives a node that was away for longer than the log is kept, or that is new, a copy of the whole store.
//
// Raft's snapshot is only the place in the log; the content is a checkpoint of the store's folder, which goes over a
// connection of its own (files.go). The receiver gives the snapshot to raft when it has all files, and the appender then puts
// the checkpoint in the place of the store.
type snapshots struct {
	store *Store
	tasks sync.WaitGroup

	mu       sync.Mutex
	newest   *checkpoint // nil: there is none
	making   chan struct{}
	number   int
	incoming *incoming // a checkpoint of another node that is complete, or being received; nil: there is none
	sent     uint64
	received uint64
}

// checkpoint is a copy of this node's store, in a folder.
type checkpoint struct {
	dir      string
	mark     mark
	uses     int           // transfers under way
	used     time.Duration // when the newest transfer ended, or the checkpoint was made
	outdated bool
}

// incoming is a checkpoint from another node.
type incoming struct {
	index     uint64
	installed chan struct{} // closed when it has taken the place of the store
}

// checkpointTicks is how long a checkpoint is kept for further transfers, and the log behind it.
const checkpointTicks = 100

// fresh says whether a checkpoint is to be kept. REQUIRES: mu is held.
func (p *snapshots) fresh(c *checkpoint) bool {
	return !c.outdated && p.store.monotonic()-c.used < checkpointTicks*p.store.tick()
}

// outdate has further transfers begin with a new checkpoint: the members have changed, and raft takes no snapshot in which the
// receiver is no member.
func (p *snapshots) outdate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newest != nil {
		p.newest.outdated = true
	}
}

func newSnapshots(s *Store) *snapshots { return &snapshots{store: s} }

// current implements Storage.Snapshot. It is called by the loop and does not wait: raft asks again.
func (p *snapshots) current() (*raftpb.Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.newest; c != nil && p.fresh(c) {
		return c.snapshot(), nil
	}
	p.makeLocked()
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

func (c *checkpoint) snapshot() *raftpb.Snapshot {
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(c.mark.index), Term: new(c.mark.term), ConfState: c.mark.conf}}
}

// makeLocked has the applier make a checkpoint. REQUIRES: mu is held.
func (p *snapshots) makeLocked() chan struct{} {
	if p.making != nil {
		return p.making
	}
	p.making = make(chan struct{})
	p.number++
	dir := p.store.fs.PathJoin(p.store.folder(checkpoints), fmt.Sprint(p.number))
	p.store.engine.apply.put(applyTask{do: func() {
		c, err := p.make(dir)
		if err != nil {
			p.store.logger.Error("a checkpoint for another node could not be made", "cause", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if c != nil {
			p.dropLocked()
			p.newest = c
		}
		close(p.making)
		p.making = nil
	}})
	return p.making
}

// make makes a checkpoint that is at the newest entry. REQUIRES: the applier's goroutine calls it.
func (p *snapshots) make(dir string) (*checkpoint, error) {
	s := p.store
	store := s.current()
	if store == nil {
		return nil, s.notReady()
	}
	if err := makeFolder(s.fs, s.folder(checkpoints)); err != nil {
		return nil, err
	}
	if err := s.applier.save(); err != nil {
		s.fail(err)
		return nil, err
	}
	if err := store.Checkpoint(dir); err != nil {
		return nil, errors.Join(err, s.fs.RemoveAll(dir))
	}
	return &checkpoint{dir: dir, mark: s.applier.mark.clone(), used: s.monotonic()}, nil
}

// dropLocked removes the newest checkpoint, unless it is being sent. REQUIRES: mu is held.
func (p *snapshots) dropLocked() {
	if c := p.newest; c != nil && c.uses == 0 {
		p.newest = nil
		if err := p.store.fs.RemoveAll(c.dir); err != nil {
			p.store.logger.Error("an old checkpoint could not be removed", "folder", c.dir, "cause", err)
		}
	}
}

// expire removes a checkpoint that nobody has needed for a while.
func (p *snapshots) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newest != nil && !p.fresh(p.newest) {
		p.dropLocked()
	}
}

// needed is the index up to which the log can be cut without making a checkpoint useless that is there; ok is false: there is
// none.
func (p *snapshots) needed() (index uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newest == nil {
		return 0, false
	}
	return p.newest.mark.index, true
}

// take gives the newest checkpoint for a transfer. REQUIRES: the caller calls give.
func (p *snapshots) take(index uint64) *checkpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newest == nil || index != 0 && p.newest.mark.index != index {
		return nil
	}
	p.newest.uses++
	return p.newest
}

func (p *snapshots) give(c *checkpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.uses--
	c.used = p.store.monotonic()
	if c != p.newest && c.uses == 0 {
		_ = p.store.fs.RemoveAll(c.dir) // the next start removes what is left
	}
}

// send sends a snapshot of raft with its checkpoint, and reports how that went.
func (p *snapshots) send(m *raftpb.Message) {
	s := p.store
	to := m.GetTo()
	report := func(status raft.SnapshotStatus) {
		s.engine.do(func(n *raft.RawNode) { n.ReportSnapshot(to, status) })
	}
	c := p.take(m.GetSnapshot().GetMetadata().GetIndex())
	peer := s.peers.find(to)
	if c == nil || peer == nil {
		if c != nil {
			p.give(c)
		}
		report(raft.SnapshotFailure)
		return
	}
	p.tasks.Go(func() {
		defer p.give(c)
		began := time.Now()
		if err := p.transfer(peer.member, m, c); err != nil {
			s.logger.Warn("a node did not receive the store", "to", peer.member.name, "cause", err)
			sleep(s.lives, 4*s.tick()) // a node that refuses is not asked at once again
			report(raft.SnapshotFailure)
			return
		}
		p.mu.Lock()
		p.sent++
		p.mu.Unlock()
		s.logger.Info("a node has received the store", "to", peer.member.name, "entry", c.mark.index, "took", time.Since(began).Round(time.Millisecond))
		report(raft.SnapshotFinish)
	})
}

// transfer sends a checkpoint and waits until the other node has installed it.
func (p *snapshots) transfer(to member, m *raftpb.Message, c *checkpoint) error {
	s := p.store
	conn, _, err := s.call(s.lives, to.name, to.address, hello{Purpose: forSnapshot, To: to.id})
	if err != nil {
		return err
	}
	defer s.conns.with(conn)()
	if err := s.sendCheckpoint(conn, m, c); err != nil {
		return err
	}
	var a answer
	_ = conn.SetDeadline(time.Now().Add(2 * fileTimeout))
	if err := readJSON(conn, frameAnswer, &a); err != nil {
		return err
	}
	if a.Refused != "" {
		return &refusedError{to.name, a}
	}
	return nil
}

// sendCheckpoint sends the place in the log and the files.
func (s *Store) sendCheckpoint(conn net.Conn, m *raftpb.Message, c *checkpoint) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := writeFrame(conn, frameRaft, b); err != nil {
		return err
	}
	return sendFolder(conn, s.fs, c.dir)
}

// receiveCheckpoint reads a place in the log and the files, into the folder for them.
func (s *Store) receiveCheckpoint(conn net.Conn) (*raftpb.Message, error) {
	_ = conn.SetReadDeadline(time.Now().Add(fileTimeout))
	kind, b, err := readFrame(conn)
	if err != nil {
		return nil, err
	}
	m := &raftpb.Message{}
	if kind != frameRaft {
		return nil, fmt.Errorf("frame %q came where a snapshot was expected", kind)
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	return m, receiveFolder(conn, s.fs, s.folder(incomingFolder))
}

// receive receives a checkpoint that the leader sends, and has raft install it.
func (p *snapshots) receive(conn net.Conn) error {
	s := p.store
	p.mu.Lock()
	if p.incoming != nil {
		p.mu.Unlock()
		return errors.New("another checkpoint is being received")
	}
	in := &incoming{installed: make(chan struct{})}
	p.incoming = in
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.incoming = nil
		p.mu.Unlock()
	}()
	m, err := s.receiveCheckpoint(conn)
	if err != nil {
		return errors.Join(err, s.fs.RemoveAll(s.folder(incomingFolder)))
	}
	index := m.GetSnapshot().GetMetadata().GetIndex()
	p.mu.Lock()
	in.index = index
	p.mu.Unlock()
	s.engine.receive(m)
	ignored := make(chan struct{})
	s.engine.do(func(n *raft.RawNode) {
		if n.BasicStatus().GetCommit() < index {
			close(ignored)
		}
	})
	// Raft leaves the snapshot alone if the log has these entries already; then they are applied.
	select {
	case <-ignored:
		return errors.New("raft has no use for the checkpoint")
	case <-in.installed:
		return nil
	case <-s.applier.reached(index):
		return nil
	case <-s.lives.Done():
		return s.lives.Err()
	}
}

// install puts a received checkpoint in the place of the store. REQUIRES: the appender's goroutine calls it.
func (p *snapshots) install(m *raftpb.Message) error {
	s := p.store
	metadata := m.GetSnapshot().GetMetadata()
	p.mu.Lock()
	in := p.incoming
	p.mu.Unlock()
	if in == nil || in.index != metadata.GetIndex() {
		return fmt.Errorf("raft asks for the checkpoint at entry %d, which is not there", metadata.GetIndex())
	}
	state := hardState(m)
	if state == nil {
		s.log.mu.Lock()
		state = s.log.state
		s.log.mu.Unlock()
	}
	if err := s.log.reset(metadata.GetIndex(), metadata.GetTerm(), state); err != nil {
		return err
	}
	done := make(chan error, 1)
	s.engine.apply.put(applyTask{do: func() { done <- s.replaceStore() }})
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-s.engine.halt:
		return s.lives.Err()
	}
	close(in.installed)
	p.mu.Lock()
	p.received++
	p.mu.Unlock()
	if len(m.GetEntries()) == 0 {
		return nil
	}
	b := &logBatch{}
	b.add(m.GetEntries())
	return s.log.write(b)
}

// replaceStore puts the received checkpoint in the place of the store. REQUIRES: the applier's goroutine calls it, or the
// engine does not run yet.
func (s *Store) replaceStore() error {
	if store := s.current(); store != nil {
		if err := store.Close(); err != nil {
			s.logger.Error("the old store could not be closed well; another takes its place", "cause", err)
		}
	}
	if err := s.finishInstall(); err != nil {
		return err
	}
	store, err := s.openReplica(uuid.Nil)
	if err != nil {
		return err
	}
	return s.use(store)
}

// finishInstall does what is left to do after the log was reset for a checkpoint. It can be done again after a crash.
func (s *Store) finishInstall() error {
	if !s.log.who().Installing {
		return nil
	}
	from, to := s.folder(incomingFolder), s.folder(storeFolder)
	if _, err := s.fs.Stat(from); err == nil { // else the checkpoint is in its place already
		if err := s.fs.RemoveAll(to); err != nil {
			return err
		}
		if err := s.fs.Rename(from, to); err != nil {
			return err
		}
		if err := errors.Join(syncFolder(s.fs, s.config.Dir), syncFolder(s.fs, s.fs.PathDir(from))); err != nil {
			return err
		}
	}
	return s.log.saveIdentity(func(i *identity) { i.Installing = false })
}
