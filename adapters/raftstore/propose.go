package raftstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Limits of blocks.
const (
	blockBytes = 512 << 10 // a block of this size takes no further call
	underWay   = 4         // blocks of a node that are under way
	maxQueued  = 4096      // calls that wait; further calls wait until there is a place
	maxCall    = 32 << 20  // bytes of one call
)

// proposals are the appends of this node, from the call to the answer.
//
// A block keeps its number until it is applied, and is sent again under its number when the leader changes and when nothing
// was heard of it for a while, because raft may drop a proposal. The applier carries a number out once. When this node
// applies a block with a higher number, the lower one never will be carried out, and gets a new number.
type proposals struct {
	store *Store

	mu     sync.Mutex
	closed error // why no call is taken; nil: calls are taken
	queue  []*call
	queued int      // bytes of the calls in the queue
	asked  int      // requests of the calls in the queue
	blocks []*block // under way, in the order of their numbers
	newest uint64   // number of the newest block
	gathering
	places  chan struct{}
	resends uint64
	sum     Duration
}

// Duration sums up how long something took.
type Duration struct {
	Count uint64
	Sum   time.Duration
}

func (d *Duration) add(took time.Duration) { d.Count, d.Sum = d.Count+1, d.Sum+took }

// call is a call of Append that waits for its answer.
type call struct {
	requests []byte // encoded
	count    int
	together bool                      // its requests are bound to each other: it is a block by itself, since a block is carried out as one call
	results  []eventstore.AppendResult // filled in before done is closed
	err      error
	done     chan struct{}
}

// block is a block under way.
type block struct {
	calls  []*call
	number uint64
	body   []byte
	made   time.Duration // monotonic times
	sent   time.Duration // 0: it was never sent, so it is in no log
	first  time.Duration // when it was sent first
}

// requests is how many requests the calls of the block have.
func (b *block) requests() (n int) {
	for _, c := range b.calls {
		n += c.count
	}
	return n
}

func newProposals(s *Store) *proposals {
	p := &proposals{store: s, places: make(chan struct{}, maxQueued)}
	p.late = time.AfterFunc(time.Hour, func() {
		p.filled(func() {
			if p.closed == nil && p.over(p.store.monotonic()) {
				p.fill()
			}
		})
	})
	p.late.Stop()
	return p
}

// Append implements eventstore.Store.
func (s *Store) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(requests) == 0 {
		return into, nil
	}
	if err := s.check(ctx, requests); err != nil {
		return nil, err
	}
	c := &call{requests: encodeRequests(requests), count: len(requests), together: requests[0].Together, done: make(chan struct{})}
	if len(c.requests) > maxCall {
		return nil, eventstore.ErrTooLarge
	}
	if err := s.proposals.submit(ctx, c); err != nil {
		return nil, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	return append(into, c.results...), nil
}

// check gives the error for which requests cannot be carried out.
func (s *Store) check(ctx context.Context, requests []eventstore.AppendRequest) error {
	for {
		g := s.generation.Load()
		if g == nil {
			return s.notReady()
		}
		err := g.Check(requests)
		if !s.replacing(ctx, nil, g, err) {
			return err
		}
	}
}

// submit puts a call into the queue.
func (p *proposals) submit(ctx context.Context, c *call) (err error) {
	select {
	case p.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.filled(func() {
		if err = p.closed; err != nil {
			<-p.places
			return
		}
		p.queue = append(p.queue, c)
		p.queued, p.asked = p.queued+len(c.requests), p.asked+c.count
		p.came = p.store.monotonic()
		p.fill()
	})
	return err
}

// filled calls a function that may make blocks, and then has raft take them, if this node leads. Settle carries out the log without raft,
// and nobody waits for a block then. REQUIRES: the caller holds no lock.
func (p *proposals) filled(f func()) {
	func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		f()
	}()
	if p.store.engine != nil {
		p.store.engine.work()
	}
}

// fill makes blocks of the calls that wait, and sends them. REQUIRES: mu is held.
func (p *proposals) fill() {
	for len(p.queue) > 0 && p.gathered() {
		p.newest++
		p.gathering.end()
		b := &block{number: p.newest, made: p.store.monotonic()}
		b.body = appendOrigin(make([]byte, 0, originSize+max(min(p.queued, blockBytes), len(p.queue[0].requests))), p.origin(b.number))
		n := 0
		for n < len(p.queue) && (n == 0 || !p.queue[0].together && !p.queue[n].together && len(b.body)+len(p.queue[n].requests) <= blockBytes) {
			b.body = append(b.body, p.queue[n].requests...)
			p.queued, p.asked = p.queued-len(p.queue[n].requests), p.asked-p.queue[n].count
			n++
		}
		b.calls = slices.Clone(p.queue[:n])
		p.queue = slices.Delete(p.queue, 0, n)
		p.blocks = append(p.blocks, b)
		p.send(b)
	}
}

// gathered says whether the calls that wait are to go now (see gathering). REQUIRES: mu is held.
func (p *proposals) gathered() bool {
	switch under := len(p.blocks); {
	case under == 0:
		return p.enough(p.asked, p.queued)
	case under == underWay:
		return false
	default:
		return p.queued >= gatherBytes || p.store.monotonic()-p.blocks[under-1].made >= gatherFor
	}
}

func (p *proposals) origin(number uint64) origin {
	who := p.store.log.who()
	return origin{who.ID, who.Incarnation, number}
}

// send sends a block to the leader. If this node leads, the block is raft's with the next turn. REQUIRES: mu is held.
func (p *proposals) send(b *block) {
	leader := p.store.engine.view.Load().leader
	if leader == 0 {
		return
	}
	if leader == p.store.log.who().ID {
		p.store.engine.leave(b.body)
	} else if !p.store.peers.forward(leader, b.body) {
		return
	}
	now := p.store.monotonic()
	if b.sent != 0 {
		p.resends++
	} else {
		b.first = now
	}
	b.sent = now
}

// applied answers the calls of a block that was applied, and gives the blocks before it new numbers.
func (p *proposals) applied(number uint64, results []eventstore.AppendResult) {
	p.filled(func() { p.carriedOut(number, results) })
}

// carriedOut is applied. REQUIRES: mu is held.
func (p *proposals) carriedOut(number uint64, results []eventstore.AppendResult) {
	var passed []*block
	kept := p.blocks[:0]
	for _, b := range p.blocks {
		switch {
		case b.number == number:
			now := p.store.monotonic()
			p.sum.add(now - b.made)
			if len(p.blocks) == 1 {
				p.await(len(b.calls)+len(p.queue), b.requests()+p.asked, now-b.made, now)
			}
			p.answer(b, results, nil)
		case b.number < number:
			passed = append(passed, b)
		default:
			kept = append(kept, b)
		}
	}
	p.blocks = kept
	for _, b := range passed {
		p.newest++
		b.number, b.body = p.newest, renumber(b.body, p.newest)
		p.blocks = append(p.blocks, b)
		p.send(b)
	}
	p.fill()
}

// skipped gives up the blocks up to a number: this node did not apply them itself, but received a store in which they may be. Some
// of them were carried out and others never will be, and their results are not known.
func (p *proposals) skipped(upTo origin) {
	p.filled(func() {
		if upTo.incarnation != p.origin(0).incarnation {
			return
		}
		p.blocks = slices.DeleteFunc(p.blocks, func(b *block) bool {
			if b.number > upTo.number {
				return false
			}
			p.answer(b, nil, errUnknown())
			return true
		})
		p.fill()
	})
}

// answer answers the calls of a block. REQUIRES: mu is held.
func (p *proposals) answer(b *block, results []eventstore.AppendResult, err error) {
	for _, c := range b.calls {
		if err == nil {
			c.results, results = results[:c.count:c.count], results[c.count:]
		}
		p.finish(c, err)
	}
}

func (p *proposals) finish(c *call, err error) {
	c.err = err
	close(c.done)
	<-p.places
}

// resend sends all blocks again: the leader or the term is another. REQUIRES: the caller is in a turn of raft.
func (p *proposals) resend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.blocks {
		p.send(b)
	}
}

// look sends blocks again of which nothing was heard, and gives up what has waited for too long: after this the outcome of a
// block that was sent is unknown, and a block that was not sent was not written. REQUIRES: the caller is in a turn of raft.
func (p *proposals) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, tick := p.store.monotonic(), p.store.tick()
	without := p.store.engine.withoutLeader()
	if without > leaderlessTicks*tick {
		for _, c := range p.queue {
			p.finish(c, errNoLeader())
		}
		p.queue, p.queued, p.asked = nil, 0, 0
	}
	kept := p.blocks[:0]
	for _, b := range p.blocks {
		switch {
		case b.sent == 0 && without > leaderlessTicks*tick:
			p.answer(b, nil, errNoLeader())
			continue
		case b.sent != 0 && now-b.first > p.store.config.giveUp():
			p.answer(b, nil, errUnknown())
			continue
		case now-b.sent > max(2*electionTicks*tick, minResend):
			p.send(b)
		}
		kept = append(kept, b)
	}
	clear(p.blocks[len(kept):])
	p.blocks = kept
	p.fill()
}

// minResend is how long nothing is heard of a block at least before it is sent again.
const minResend = time.Second

// close answers every call with the error, and refuses further calls.
func (p *proposals) close(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return
	}
	p.closed = err
	p.late.Stop()
	for _, c := range p.queue {
		p.finish(c, err)
	}
	for _, b := range p.blocks {
		unknown := err
		if b.sent != 0 {
			unknown = fmt.Errorf("%w: %w", err, errUnknown())
		}
		p.answer(b, nil, unknown)
	}
	p.queue, p.queued, p.asked, p.blocks = nil, 0, 0, nil
}

// errNoLeader refuses an append of which nothing was written.
func errNoLeader() error {
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, eventstore.ErrNoLeader)
}

// errUnknown is for an append whose outcome is unknown.
func errUnknown() error {
	return fmt.Errorf("%w: the nodes of the cluster did not confirm the append in time", eventstore.ErrUnavailable)
}
