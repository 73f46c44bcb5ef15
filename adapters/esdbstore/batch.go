package esdbstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// call is one append request that is under way.
//
// INVARIANT: the batch that has the call in waiting writes success and err, under its mutex and before it closes group.done.
// The caller reads both only after done is closed, or after forget. A batch that has no call of a group in waiting never
// writes to these calls.
type call struct {
	proposal
	group *group

	success *streams.BatchAppendResp_Success
	err     *answer // nil: success
}

// group is the calls that one caller waits for.
type group struct {
	left int           // calls without an outcome; guarded by the batch's mutex
	done chan struct{} // closed when every call has an outcome
}

// batch keeps one BatchAppend call to a node open and sends all appends over it. The database takes the appends in the order
// in which they are sent, and answers each when it is durable.
//
// INVARIANT: a call is in waiting from the time when it is queued until it is answered, it is forgotten, or the batch has
// failed. The goroutine that removes the call from waiting writes the outcome, once.
type batch struct {
	attempt time.Duration
	prefix  int64 // of the correlation ids

	mu         sync.Mutex
	next       int64
	waiting    map[int64]*sent
	queue      []*streams.BatchAppendReq // to be sent, in order
	filled     chan struct{}             // holds a token when the queue is not empty; never closed
	lastAnswer time.Time                 // when the node answered last
	failed     *answer                   // why the batch takes no more calls; nil: it takes them
	proven     chan struct{}             // closed when the first append succeeds
	proved     bool
}

// sent is a call without an outcome.
type sent struct {
	call *call
	at   time.Time
}

func newBatch(attempt time.Duration) *batch {
	return &batch{attempt: attempt, prefix: rand.Int64(), waiting: make(map[int64]*sent), filled: make(chan struct{}, 1), proven: make(chan struct{})}
}

// send queues a caller's calls in their order, without calls of another caller between them. It closes the group's done when
// all calls are answered.
func (b *batch) send(calls []*call) *group {
	g := &group{left: len(calls), done: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, c := range calls {
		c.group, c.success, c.err = g, nil, nil
		if b.failed != nil {
			c.answered(nil, b.failed)
			continue
		}
		b.next++
		b.waiting[b.next] = &sent{c, now}
		b.queue = c.messages(b.queue, &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
			MostSignificantBits: b.prefix, LeastSignificantBits: b.next,
		}}})
	}
	select {
	case b.filled <- struct{}{}:
	default:
	}
	return g
}

// answered notes the outcome of a call. REQUIRES: the batch's mutex is held.
func (c *call) answered(success *streams.BatchAppendResp_Success, err *answer) {
	c.success, c.err = success, err
	c.group.left--
	if c.group.left == 0 {
		close(c.group.done)
	}
}

// run keeps the BatchAppend call open until the context ends or the node ends the call. It returns why, after every call
// without an outcome got this answer.
func (b *batch) run(ctx context.Context, l *link) *answer {
	ctx, cancel := context.WithCancel(asLeader(ctx))
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	stream, err := l.client.BatchAppend(ctx)
	if err != nil {
		return b.fail(judge(err, nil))
	}
	group.Go(func() { b.push(ctx, stream) })
	group.Go(func() { b.watch(ctx, cancel) })
	for {
		resp, err := stream.Recv()
		if err != nil {
			return b.fail(judge(err, stream.Trailer()))
		}
		b.take(resp)
	}
}

// push sends the queue to the node until the context ends.
func (b *batch) push(ctx context.Context, stream streams.Streams_BatchAppendClient) {
	var next []*streams.BatchAppendReq
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.filled:
		}
		b.mu.Lock()
		next, b.queue = b.queue, next[:0]
		b.mu.Unlock()
		for i, m := range next {
			if err := stream.Send(m); err != nil {
				return // Recv gives the error
			}
			next[i] = nil
		}
	}
}

func (b *batch) take(resp *streams.BatchAppendResp) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastAnswer = time.Now()
	key := leastBits(resp.GetCorrelationId())
	s := b.waiting[key]
	if s == nil {
		return // its caller waits no longer
	}
	delete(b.waiting, key)
	if success := resp.GetSuccess(); success != nil {
		s.call.answered(success, nil)
		if !b.proved {
			b.proved = true
			close(b.proven)
		}
		return
	}
	s.call.answered(nil, judgeBatch(resp.GetError()))
}

// leastBits are the bits of a correlation id that tell the calls of a batch apart.
func leastBits(id *shared.UUID) int64 {
	if s := id.GetStructured(); s != nil {
		return s.GetLeastSignificantBits()
	}
	return protoID(fromProtoID(id)).GetStructured().GetLeastSignificantBits()
}

var errNoAnswer = errors.New("the node does not answer")

// watch ends the batch when a call waits and the node has given no answer for the time of an attempt, and when the node
// answers other calls but has lost one.
func (b *batch) watch(ctx context.Context, cancel context.CancelFunc) {
	ticker := time.NewTicker(b.attempt / 8)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if b.overdue(time.Now()) {
			b.fail(&answer{verdict: elsewhere, err: errNoAnswer})
			cancel()
			return
		}
	}
}

func (b *batch) overdue(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.waiting {
		since := s.at
		if b.lastAnswer.After(since) {
			since = b.lastAnswer
		}
		if now.Sub(since) > b.attempt || now.Sub(s.at) > 3*b.attempt {
			return true
		}
	}
	return false
}

// fail gives an answer to every call that waits and to every later call. It returns the first reason of a failure.
func (b *batch) fail(why *answer) *answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = why
	}
	for key, s := range b.waiting {
		delete(b.waiting, key)
		s.call.answered(nil, b.failed)
	}
	b.queue = nil
	return b.failed
}

// forget removes the calls of a caller that waits no longer.
func (b *batch) forget(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, s := range b.waiting {
		if s.call.group == g {
			delete(b.waiting, key)
		}
	}
}
