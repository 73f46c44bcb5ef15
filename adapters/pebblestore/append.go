package pebblestore

import (
	"context"
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
	results  []eventstore.AppendResult
	err      error
	bytes    int
	queued   time.Time
	done     chan struct{} // holds one token when the call is answered
}

var pendings = sync.Pool{New: func() any { return &pending{done: make(chan struct{}, 1)} }}

// Append implements eventstore.Store. The requests must not be changed even after a context's end.
func (s *Store) Append(ctx context.Context, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	size, err := s.prepare(requests)
	if err != nil || len(requests) == 0 {
		return nil, err
	}
	p := pendings.Get().(*pending)
	p.requests, p.results, p.err, p.bytes, p.queued = requests, make([]eventstore.AppendResult, len(requests)), nil, size, time.Now()
	select { // a closed store takes nothing, even if there is room
	case <-s.closing:
		return nil, eventstore.ErrClosed
	default:
	}
	select {
	case s.queue <- p:
	case <-s.closing:
		return nil, eventstore.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-p.done:
	case <-ctx.Done(): // the committer still holds p: it is left to the garbage collector
		return nil, ctx.Err()
	case <-s.stopped:
		select {
		case <-p.done:
		default:
			return nil, eventstore.ErrClosed
		}
	}
	results, err := p.results, p.err
	p.requests, p.results = nil, nil
	pendings.Put(p)
	if err != nil {
		return nil, err
	}
	return results, nil
}

// prepare checks the requests' form and loads the heads they need ahead of the committer.
func (s *Store) prepare(requests []eventstore.AppendRequest) (size int, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	for i := range requests {
		r := &requests[i]
		if len(r.Events) == 0 {
			return 0, eventstore.ErrNoEvents
		}
		for j := range r.Events {
			size += len(r.Stream) + len(r.Events[j].Data) + len(r.Events[j].Metadata) + 64
		}
		if _, err := s.head(r.Stream); err != nil {
			return 0, err
		}
	}
	if size > maxAppendBytes {
		return 0, eventstore.ErrTooLarge
	}
	return size, nil
}
