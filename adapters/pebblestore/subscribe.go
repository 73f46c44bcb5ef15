package pebblestore

import (
	"context"
	"sync"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	catchUpBatch = 1024 // events that Next returns at once from disk
	liveBuffer   = 64   // commits that wait for a live subscriber before it is sent back to disk
)

// hub hands commits to the subscriptions that are live. It never waits for one.
type hub struct {
	mu        sync.Mutex
	published eventstore.Position
	live      map[*subscription]struct{}
	closed    bool
}

func (h *hub) publish(events []eventstore.RecordedEvent, last eventstore.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.published = last
	for s := range h.live {
		select {
		case s.commits <- events:
		default: // too slow: it reads on from disk
			delete(h.live, s)
			close(s.commits)
		}
	}
}

// join makes the subscription live for all that comes after the returned position.
func (h *hub) join(s *subscription) (eventstore.Position, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, eventstore.ErrClosed
	}
	if h.live == nil {
		h.live = make(map[*subscription]struct{})
	}
	s.commits = make(chan []eventstore.RecordedEvent, liveBuffer)
	h.live[s] = struct{}{}
	return h.published, nil
}

func (h *hub) leave(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, s)
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.live {
		delete(h.live, s)
		close(s.commits)
	}
}

// subscription is used by one goroutine, except for Close.
type subscription struct {
	store    *Store
	filter   eventstore.Filter
	position eventstore.Position             // looked through up to here
	commits  chan []eventstore.RecordedEvent // nil: reading from disk; closed by the hub when it overflows
	joinedAt eventstore.Position             // commits holds what comes after this position
	batch    []eventstore.RecordedEvent
	done     chan struct{}
	close    sync.Once
}

// Subscribe implements eventstore.Store.
func (s *Store) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	select {
	case <-s.closing:
		return nil, eventstore.ErrClosed
	default:
	}
	return &subscription{store: s, filter: opts.Filter, position: opts.After, done: make(chan struct{})}, ctx.Err()
}

// Next implements eventstore.Subscription.
func (s *subscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	for {
		select {
		case <-s.done:
			return nil, s.position, eventstore.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return nil, s.position, err
		}
		var err error
		if s.commits != nil && s.position >= s.joinedAt {
			err = s.takeLive(ctx)
		} else {
			err = s.catchUp(ctx)
		}
		if err != nil || len(s.batch) > 0 {
			return s.batch, s.position, err
		}
	}
}

// catchUp reads the next events from disk. Near the head it joins the live subscriptions first, so
// that nothing falls between what it reads and what it is handed.
func (s *subscription) catchUp(ctx context.Context) error {
	target := eventstore.Position(s.store.durable.Load())
	if s.commits == nil && target < s.position+catchUpBatch {
		var err error
		if s.joinedAt, err = s.store.hub.join(s); err != nil {
			return err
		}
	}
	if s.commits != nil {
		target = s.joinedAt
	}
	s.batch = s.batch[:0:0] // the caller's until now, and perhaps a commit's
	if target <= s.position {
		return nil
	}
	opts := eventstore.ReadAllOptions{After: s.position, To: target, Filter: s.filter, Limit: catchUpBatch}
	for e, err := range s.store.ReadAll(ctx, opts) {
		if err != nil {
			return err
		}
		s.batch = append(s.batch, e)
	}
	s.position = target
	if len(s.batch) == catchUpBatch {
		s.position = s.batch[len(s.batch)-1].Position
	}
	return nil
}

// takeLive waits for the next commit and picks from it.
func (s *subscription) takeLive(ctx context.Context) error {
	s.batch = nil
	select {
	case events, ok := <-s.commits:
		if !ok {
			s.commits = nil
			return nil
		}
		after := s.position // beyond the events, when the subscriber began in the future
		if last := events[len(events)-1].Position; last > after {
			s.position = last
		}
		if events[0].Position > after && len(s.filter.StreamPrefixes) == 0 && len(s.filter.Types) == 0 {
			s.batch = events[:len(events):len(events)]
			return nil
		}
		for i := range events {
			if events[i].Position > after && s.filter.Match(events[i].Stream, events[i].Type) {
				s.batch = append(s.batch, events[i])
			}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return eventstore.ErrClosed
	}
}

// Close implements eventstore.Subscription.
func (s *subscription) Close() error {
	s.close.Do(func() {
		close(s.done)
		s.store.hub.leave(s)
	})
	return nil
}
