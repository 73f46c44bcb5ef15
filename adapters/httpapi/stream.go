package httpapi

import (
	"context"
	"sync"

	"github.com/rollcall-registry/rollcall/queries"
)

// stream is a reply that follows the catalog. The goroutine of its request waits for changes, and writes. Where a change is to be told
// to many subscribers, the few goroutines of the feed write to their connections one after the other, and wake the stream's own only
// for what cannot be written at once (ADR 132).
//
// INVARIANT: whoever holds mu has taken nothing from following that is neither written, nor kept in pending or in w. So all events are
// written in their order, whoever writes them. The goroutine of the request gives mu back only to wait for changes.
type stream struct {
	mu         sync.Mutex
	following  *queries.Following
	subscriber *subscriber
	w          *sse
	pending    queries.Changes // what tell took and must not write
	failure    any             // of a panic in tell
	ended      bool            // the request is answered
}

// mostTold is how many changes tell writes at once. More are a subscriber's that was held up before.
const mostTold = 16

// Next waits for the next update. REQUIRES: the caller holds mu, which Next gives back while it waits.
func (s *stream) Next(ctx context.Context) (queries.Update, error) {
	for {
		if s.failure != nil {
			panic(s.failure)
		}
		if err := s.w.rest(); err != nil {
			return nil, err
		}
		if told := s.pending; told != nil {
			s.pending = nil
			return told, nil
		}
		if update, err := s.following.Take(ctx); update != nil || err != nil {
			return update, err
		}
		s.mu.Unlock()
		err := s.following.Wait(ctx)
		s.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// tell tells the subscriber of changes, without waiting. false: the goroutine of the request has to.
func (s *stream) tell() (told bool) {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	if s.ended || s.pending != nil || s.failure != nil || !s.w.direct() {
		return false
	}
	defer func() {
		if s.failure = recover(); s.failure != nil {
			told = false
		}
	}()
	changes, more := s.following.TakeChanges()
	switch {
	case len(changes) == 0:
		return !more
	case len(changes) > mostTold || !s.subscriber.who.Still():
		s.pending = changes
		return false
	}
	return s.w.try(changes)
}

// end REQUIRES: the caller holds mu, which end gives back.
func (s *stream) end() {
	s.ended = true
	s.mu.Unlock()
}
