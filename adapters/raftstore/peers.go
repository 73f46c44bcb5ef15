package raftstore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// peers sends messages to the other members. It never waits for a node: what a node does not take in time is dropped, and
// raft, or the node that forwards a block, sends it again.
type peers struct {
	store *Store

	pending atomic.Bool // something was put into a queue since the newest flush

	mu     sync.Mutex
	all    map[uint64]*peer
	list   []*peer // those of all; it is replaced, not changed
	closed bool
	tasks  sync.WaitGroup
}

// peer sends to one member over one connection. Its goroutine dials again when the connection breaks.
type peer struct {
	member  member
	learned bool // it was not in the log when it connected to this node
	ctx     context.Context
	stop    context.CancelFunc

	mu        sync.Mutex
	queue     []byte        // frames
	spare     []byte        // a buffer for the next queue; nil: there is none
	writing   bool          // a goroutine writes to the connection, and looks into the queue after that
	direct    *direct       // of the connection; nil: only the peer's goroutine writes to it
	wake      chan struct{} // capacity 1: there is something in the queue for the peer's goroutine; never closed
	connected bool
	rules     uint64 // the newest version of the rules that the peer's process knows, while it is connected
	problem   string // why the newest attempt to connect failed; "": it did not
}

const (
	maxPeerQueue = 64 << 20 // bytes that wait for a member; more are dropped
	keptBuffer   = 1 << 20  // a larger buffer is not used again
)

func newPeers(s *Store) *peers { return &peers{store: s, all: make(map[uint64]*peer)} }

// set makes the members those to which messages are sent.
func (p *peers) set(members map[uint64]member, removed []uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	own := p.store.log.who().ID
	for id, peer := range maps.Clone(p.all) {
		if now, ok := members[id]; !ok && (!peer.learned || slices.Contains(removed, id)) || ok && now != peer.member {
			peer.stop()
			delete(p.all, id)
		}
	}
	for id, m := range members {
		if id != own && p.all[id] == nil {
			p.startLocked(m, false)
		}
	}
	p.list = slices.Collect(maps.Values(p.all))
}

// learn has messages sent to a node that connected to this one. A node may be behind in the log, or have nothing of it yet,
// and must answer a member of which it does not know.
func (p *peers) learn(m member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.all[m.id] == nil && m.address != "" {
		p.startLocked(m, true)
	}
}

// startLocked starts a peer. REQUIRES: mu is held.
func (p *peers) startLocked(m member, learned bool) {
	ctx, stop := context.WithCancel(context.Background())
	peer := &peer{member: m, learned: learned, ctx: ctx, stop: stop, wake: make(chan struct{}, 1)}
	p.all[m.id] = peer
	p.list = slices.Collect(maps.Values(p.all))
	p.tasks.Go(func() { p.run(peer) })
}

func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	for _, peer := range p.all {
		peer.stop()
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

func (p *peers) find(id uint64) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[id]
}

// connected says whether this node can send to a member.
func (p *peers) connected(id uint64) bool {
	peer := p.find(id)
	if peer == nil {
		return false
	}
	connected, _ := peer.state()
	return connected
}

// sendRaft sends a message of raft. The caller calls flush when it holds no lock.
func (p *peers) sendRaft(m *raftpb.Message) {
	peer := p.find(m.GetTo())
	if peer == nil {
		return
	}
	peer.send(frameRaft, func(b []byte) []byte {
		b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
		if err != nil {
			panic(err) // a message without required fields can always be written
		}
		return b
	})
	p.pending.Store(true)
}

// forward sends a body to the leader, as sendRaft does. It is false if the leader cannot be reached now.
func (p *peers) forward(leader uint64, body []byte) (sent bool) {
	peer := p.find(leader)
	sent = peer != nil && peer.send(frameForward, func(b []byte) []byte { return append(b, body...) })
	if sent {
		p.pending.Store(true)
	}
	return sent
}

// send puts a frame into the queue, whose content add appends. It is false if the frame is dropped.
func (p *peer) send(kind byte, add func([]byte) []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.connected || len(p.queue) > maxPeerQueue {
		return false
	}
	at := len(p.queue)
	p.queue = endFrame(add(beginFrame(p.queue, kind)), at)
	return true
}

// connect notes that there is a connection, or none. direct writes to it; nil: only the peer's goroutine does.
func (p *peer) connect(direct *direct, connected bool, rules uint64, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.direct, p.connected, p.rules, p.problem, p.queue = direct, connected, rules, problem, nil
}

// unreachable notes why an attempt to connect failed. It is false if the attempt before failed for the same reason.
func (p *peer) unreachable(err error) (another bool) {
	problem := err.Error()
	var refused *refusedError
	var invalid x509.CertificateInvalidError
	var netErr *net.OpError
	switch {
	case errors.As(err, &refused):
		problem = refused.answer.Refused
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // without the present time
		problem = "its certificate has expired, or is not valid yet"
	case errors.As(err, &netErr): // without the addresses, of which the node's own differs from attempt to attempt
		problem = fmt.Sprintf("%s: %v", netErr.Op, netErr.Err)
	}
	before := p.problem // only the peer's goroutine changes it
	p.connect(nil, false, 0, problem)
	return problem != before
}

// run keeps a connection to the member until the peer is stopped.
func (p *peers) run(peer *peer) {
	s := p.store
	pause := s.tick()
	broke := false // a connection broke, and it is not known yet whether the member's process has ended
	for peer.ctx.Err() == nil {
		c, a, err := s.call(peer.ctx, peer.member.name, peer.member.address, hello{Purpose: forMessages, To: peer.member.id})
		if broke && errors.Is(err, syscall.ECONNREFUSED) { // a process that is ending may close its connections before its listener
			s.engine.ended(peer.member.id)
			broke = false
		}
		if err == nil {
			peer.connect(directOf(c), true, told(a.Rules), "")
			began := s.monotonic()
			pause = s.tick()
			s.logger.Debug("connected to a node of the cluster", "peer", peer.member.name)
			err = peer.write(c)
			peer.connect(nil, false, 0, "")
			s.engine.unreachable(peer.member.id)
			if peer.ctx.Err() == nil {
				s.logger.Info("the connection to a node of the cluster broke", "peer", peer.member.name, "cause", err)
			}
			if broke = s.monotonic()-began > s.tick(); broke {
				continue // the next attempt shows at once whether the process has ended
			}
		}
		if peer.unreachable(err) && peer.ctx.Err() == nil {
			s.logger.Info("a node of the cluster cannot be reached", "peer", peer.member.name, "cause", err)
		}
		var refused *refusedError
		if errors.As(err, &refused) {
			switch {
			case refused.answer.Removed:
				s.removed(refused)
			case refused.answer.TooOld:
				s.fail(fmt.Errorf("%w (%w)", ErrTooOld, refused))
			}
		}
		if !sleep(peer.ctx, pause) {
			return
		}
		pause = min(2*pause, 20*s.tick())
	}
}

// write sends what is in the queue until the connection breaks, as far as flush leaves that to it.
func (p *peer) write(c net.Conn) error {
	broken := make(chan error, 1) // gets one value when the other end closes the connection
	go func() {
		_, _, err := readFrame(c)
		broken <- err
	}()
	defer c.Close()
	for {
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case err := <-broken:
			return err
		case <-p.wake:
		}
		if err := p.writeQueue(c); err != nil {
			return err
		}
	}
}

// writeQueue writes what is in the queue, unless another goroutine does so.
func (p *peer) writeQueue(c net.Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 && !p.writing {
		frames := p.begin()
		p.mu.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := c.Write(frames)
		p.mu.Lock()
		if p.end(frames); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
