package pebblestore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Limits of one commit.
const (
	maxQueued      = 4096     // Append calls that wait for the committer; the next one waits outside
	maxCommitBytes = 8 << 20  // after which a commit takes no further call
	maxAppendBytes = 32 << 20 // of one Append call
)

// pending is an Append call on its way through the committer.
type pending struct {
	requests []eventstore.AppendRequest
	heads    []*head // of the requests' streams; those of tied requests know the other's
	results  []eventstore.AppendResult
	err      error
	bytes    int
	save     eventstore.Position // heads that have been behind since before this position are to be written
	queued   time.Time
	done     chan struct{} // holds one token when the call is answered
}

var pendings = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

// Append implements eventstore.Store.
func (s *Store) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := s.Err(); err != nil {
		return nil, err
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
	if err == nil && ctx.Done() == nil { // as heartbeats come: a wait for several things at once costs more
		<-p.done
	} else if err == nil {
		select {
		case <-p.done:
		case <-ctx.Done(): // the committer still holds p: it is left to the garbage collector
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

// submit hands the call to the committer, which answers every call that it was handed.
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

// saveHeadsBefore has the heads written that have been behind since before the position.
func (s *Store) saveHeadsBefore(position eventstore.Position) error {
	p := &pending{save: position, done: make(chan struct{}, 1)}
	if err := s.submit(context.Background(), p); err != nil {
		return err
	}
	<-p.done
	return p.err
}

// prepare checks the requests' form and finds the heads they need ahead of the committer.
func (s *Store) prepare(p *pending) error {
	p.heads = slices.Grow(p.heads[:0], len(p.requests))[:len(p.requests)]
	var err error
	if p.bytes, err = s.numbers.heads(p.requests, p.heads); err != nil {
		return err
	}
	for i := range p.requests {
		r := &p.requests[i]
		if len(r.Events) == 0 {
			return eventstore.ErrNoEvents
		}
		if r.StreamNumber == 0 {
			if p.heads[i], err = s.head(r.Stream); err != nil {
				return err
			}
		}
		if !r.Other.IsAny() {
			if err := s.tie(p.heads[i]); err != nil {
				return err
			}
		}
		for j := range r.Events {
			p.bytes += len(r.Stream) + len(r.Events[j].Data) + len(r.Events[j].Metadata) + 64
		}
	}
	if p.bytes > maxAppendBytes {
		return eventstore.ErrTooLarge
	}
	return nil
}
