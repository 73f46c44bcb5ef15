package pebblestore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Limits of one commit.
const (
	maxQueued      = 4096     // Append calls in the queue; a further call waits until the queue has a place
	maxCommitBytes = 8 << 20  // a commit of this size takes no further call
	maxAppendBytes = 32 << 20 // of one Append call
)

// pending is an Append call that the committer carries out.
//
// INVARIANT: the caller owns a pending, its requests and its results, until submit has put it into the queue. From then
// on they belong to the committer and the goroutine behind it, until done holds its token. A caller that waits no
// longer must leave them alone for ever: it does not put the pending back into the pool.
type pending struct {
	block    *Block // of a replica's log, which the requests belong to; nil: there is none
	requests []eventstore.AppendRequest
	heads    []*head // of the requests' streams; the head of a tied request points to the head of the other stream
	results  []eventstore.AppendResult
	err      error
	bytes    int
	written  int                 // about how many bytes the lifecycle events take in the engine's batch; heartbeats take few
	forget   int                 // how many of the next shards are to be looked through for heads to forget, see forget.go
	save     eventstore.Position // heads whose oldest unwritten heartbeat is before this position are to be written
	rotate   bool                // the engine is to begin a new memtable, see release.go
	rotated  <-chan struct{}     // closed by the engine when what was in memory then is on disk
	queued   time.Time
	done     chan struct{} // gets one token when the call is answered; never closed
}

var pendings = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

// Append implements eventstore.Store.
func (s *Store) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if s.opts.Replica {
		return nil, fmt.Errorf("%w: %w", eventstore.ErrRefused, ErrReplica)
	}
	if len(requests) == 0 {
		return into, nil
	}
	p := pendings.Get().(*pending)
	into = append(into, make([]eventstore.AppendResult, len(requests))...)
	p.requests, p.results, p.err = requests, into[len(into)-len(requests):], nil
	err := s.prepare(p)
	if err == nil {
		err = s.submit(ctx, p)
	}
	if err == nil && ctx.Done() == nil { // heartbeats of the lane: a receive is cheaper than a select
		<-p.done
	} else if err == nil {
		select {
		case <-p.done:
		case <-ctx.Done(): // the committer still owns p, so p does not go back into the pool
			return nil, ctx.Err()
		}
	}
	if err == nil {
		err = p.err
	}
	p.requests, p.results, p.heads = nil, nil, p.heads[:0]
	pendings.Put(p)
	if err != nil {
		return nil, err
	}
	return into, nil
}

// submit puts the call into the queue. The committer answers every call that is in the queue.
func (s *Store) submit(ctx context.Context, p *pending) error {
	s.intake.RLock()
	defer s.intake.RUnlock()
	if s.refusing {
		return eventstore.ErrClosed
	}
	p.queued = time.Now()
	select {
	case s.queue <- p:
		return nil
	default:
	}
	select {
	case s.queue <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// saveHeadsBefore has the heads written whose oldest unwritten heartbeat is before the position.
func (s *Store) saveHeadsBefore(position eventstore.Position) error {
	p := &pending{save: position, done: make(chan struct{}, 1)}
	if err := s.submit(context.Background(), p); err != nil {
		return err
	}
	<-p.done
	return p.err
}

// prepare checks the form of the requests, and loads the heads that they need, so that the committer need not wait for
// the disk.
func (s *Store) prepare(p *pending) error {
	p.heads = slices.Grow(p.heads[:0], len(p.requests))[:len(p.requests)]
	p.bytes, p.written = s.numbers.find(p.requests, p.heads), 0
	var err error
	for i := range p.requests {
		r := &p.requests[i]
		if len(r.Events) == 0 {
			return eventstore.ErrNoEvents
		}
		switch {
		case r.StreamNumber == 0 && r.Expected.IsNoStream():
			p.heads[i], err = s.newcomer(r.Stream)
		case r.StreamNumber == 0:
			p.heads[i], err = s.head(r.Stream)
		case p.heads[i] == nil:
			p.heads[i], err = s.numberedHead(r)
		}
		if err != nil {
			return err
		}
		if !r.Other.IsAny() && !s.seen(r, p.heads[i]) {
			if err := s.tie(p.heads[i]); err != nil {
				return err
			}
		}
		before := p.bytes
		for j := range r.Events {
			p.bytes += len(r.Stream) + len(r.Events[j].Data) + len(r.Events[j].Metadata) + 64
		}
		if !p.heads[i].heartbeats {
			p.written += p.bytes - before
			if s.opts.Replica {
				p.written += (len(r.Stream) + 64) * len(r.Events) // the name comes again in the index
			}
		}
	}
	if p.bytes > maxAppendBytes {
		return eventstore.ErrTooLarge
	}
	return nil
}
