package raftstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// barriers find out how far the log was committed when they were asked: raft's ReadIndex, by which the leader makes sure that
// it still leads. All who ask while a question is under way share the next question.
type barriers struct {
	store *Store

	mu      sync.Mutex
	closed  error
	asked   uint64    // number of the newest question
	current *question // under way; nil: none is
	next    *question // begins when the current one is answered; nil: nobody waits
}

// question is asked again, with a higher number, while no answer comes: raft may drop it.
type question struct {
	first uint64 // number under which it was asked first; an answer to this one or a later one counts
	since time.Duration
	sent  time.Duration
	done  chan struct{} // closed when index or err is set
	index uint64
	err   error
}

func newBarriers(s *Store) *barriers { return &barriers{store: s} }

// Head implements eventstore.Store. It is the position of the last event that any node had answered for before the call, or a
// later one, and this node has applied it.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	if err := s.unreadable(); err != nil {
		return 0, err
	}
	index, err := s.barriers.ask(ctx)
	if err != nil {
		return 0, err
	}
	// A caller may hold a read open for which the store waits before another one takes its place, so the wait ends.
	late := time.NewTimer(s.config.giveUp())
	defer late.Stop()
	select {
	case <-s.applier.reached(index):
		return s.Durable(), nil
	case <-late.C:
		return 0, fmt.Errorf("%w: this node is behind the cluster", eventstore.ErrUnavailable)
	case <-s.failed:
		return 0, s.Err()
	case <-s.closing:
		return 0, eventstore.ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// unreadable is why the node cannot ask the others, or nil.
func (s *Store) unreadable() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	if s.current() == nil {
		return s.notReady()
	}
	if s.engine.withoutLeader() > leaderlessTicks*s.tick() {
		return errNoLeader()
	}
	return nil
}

func (b *barriers) ask(ctx context.Context) (uint64, error) {
	b.mu.Lock()
	if b.closed != nil {
		b.mu.Unlock()
		return 0, b.closed
	}
	if b.next == nil {
		b.next = &question{done: make(chan struct{}), since: b.store.monotonic()}
	}
	q := b.next
	if b.current == nil {
		b.begin()
	}
	b.mu.Unlock()
	select {
	case <-q.done:
		return q.index, q.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// begin asks the next question. REQUIRES: mu is held, and no question is under way.
func (b *barriers) begin() {
	b.current, b.next = b.next, nil
	if b.current != nil {
		b.current.first = b.asked + 1
		b.send()
	}
}

// send asks the current question. REQUIRES: mu is held.
func (b *barriers) send() {
	b.asked++
	b.current.sent = b.store.monotonic()
	label := binary.BigEndian.AppendUint64(b.label(), b.asked)
	b.store.engine.do(func(n *raft.RawNode) { n.ReadIndex(label) })
}

// label begins the label of each question: an answer to a question of another node, or of an earlier process of this node, does
// not count.
func (b *barriers) label() []byte {
	who := b.store.log.who()
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, who.ID), who.Incarnation)
}

// read takes an answer of raft.
func (b *barriers) read(r raft.ReadState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	number, own := bytes.CutPrefix(r.RequestCtx, b.label())
	if own && b.current != nil && binary.BigEndian.Uint64(number) >= b.current.first {
		b.finish(r.Index, nil)
	}
}

// finish answers the current question. REQUIRES: mu is held.
func (b *barriers) finish(index uint64, err error) {
	b.current.index, b.current.err = index, err
	close(b.current.done)
	b.begin()
}

// look asks again what was not answered, and gives up where there is no leader.
func (b *barriers) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return
	}
	now, tick := b.store.monotonic(), b.store.tick()
	switch {
	case b.store.engine.withoutLeader() > leaderlessTicks*tick:
		b.finish(0, errNoLeader())
	case now-b.current.since > b.store.config.giveUp():
		b.finish(0, fmt.Errorf("%w: the nodes of the cluster did not answer in time", eventstore.ErrUnavailable))
	case now-b.current.sent > electionTicks*tick:
		b.send()
	}
}

// resend asks again: the leader is another.
func (b *barriers) resend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.send()
	}
}

func (b *barriers) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = err
	for b.current != nil {
		b.finish(0, err)
	}
}
