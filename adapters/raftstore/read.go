package raftstore

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Reads are those of the node's own store. Where a checkpoint of another node takes the place of the store, a read goes on in
// the new store after the event that it yielded last: the new store has the same events, and more.

type events = iter.Seq2[eventstore.RecordedEvent, error]

// ReadStream implements eventstore.Store.
func (s *Store) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) events {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		rest := opts
		s.across(ctx, yield, func(g *generation) events { return g.ReadStream(ctx, stream, rest) }, func(e eventstore.RecordedEvent) (more bool) {
			switch {
			case !rest.Backwards:
				rest.From = e.Revision + 1
			case e.Revision == 0:
				return false
			default:
				rest.From = e.Revision - 1
			}
			return oneLess(&rest.Limit)
		})
	}
}

// ReadAll implements eventstore.Store.
func (s *Store) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) events {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		rest := opts
		s.across(ctx, yield, func(g *generation) events { return g.ReadAll(ctx, rest) }, func(e eventstore.RecordedEvent) (more bool) {
			rest.After = e.Position
			return oneLess(&rest.Limit) && !(rest.Backwards && e.Position == 1)
		})
	}
}

// across yields the events that read gives, in each store that takes the place of the one before. yielded notes an event
// that was yielded, so that read goes on after it, and says whether more are wanted.
func (s *Store) across(ctx context.Context, yield func(eventstore.RecordedEvent, error) bool, read func(*generation) events, yielded func(eventstore.RecordedEvent) (more bool)) {
	for again := true; again; {
		g := s.generation.Load()
		if g == nil {
			yield(eventstore.RecordedEvent{}, s.notReady())
			return
		}
		again = false
		for e, err := range read(g) {
			if again = s.replacing(ctx, nil, g, err); again {
				break
			}
			if !yield(e, err) || err != nil || !yielded(e) {
				return
			}
		}
	}
}

// oneLess counts a limit down, of which 0 is none, and says whether something is left of it.
func oneLess(limit *int) bool {
	if *limit == 0 {
		return true
	}
	*limit--
	return *limit > 0
}

// replacing says whether a read ended because another store takes the place of the one it reads, and waits for that store. It
// waits no longer when the store is closed or has failed, or done is closed.
func (s *Store) replacing(ctx context.Context, done <-chan struct{}, g *generation, err error) bool {
	if !errors.Is(err, eventstore.ErrClosed) {
		return false
	}
	select {
	case <-g.replaced:
		return true
	default:
	}
	select {
	case <-g.replaced:
		return true
	case <-s.closing:
	case <-s.failed:
	case <-done:
	case <-ctx.Done():
	}
	return false
}

// Subscribe implements eventstore.Store.
func (s *Store) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	g := s.generation.Load()
	if g == nil {
		return nil, s.notReady()
	}
	sub, err := g.Subscribe(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &subscription{inner: sub, store: s, generation: g, opts: opts, done: make(chan struct{})}, nil
}

// subscription goes on in the next store after its position.
type subscription struct {
	store      *Store
	generation *generation
	opts       eventstore.SubscribeOptions // After is the position from which the present inner goes on, or that Next gave last
	done       chan struct{}               // closed by Close

	mu    sync.Mutex // held while inner changes, and by Close
	inner eventstore.Subscription
}

func (s *subscription) shut() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Next implements eventstore.Subscription.
func (s *subscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	for {
		events, position, err := s.inner.Next(ctx)
		if err == nil {
			s.opts.After = position
			return events, position, nil
		}
		if s.shut() || !s.store.replacing(ctx, s.done, s.generation, err) {
			return nil, s.opts.After, err
		}
		s.opts.After = max(s.opts.After, position) // behind what the filter did not pick
		s.generation = s.store.generation.Load()
		next, err := s.generation.Subscribe(ctx, s.opts)
		if err != nil {
			return nil, s.opts.After, err
		}
		s.mu.Lock()
		s.inner = next
		if s.shut() {
			_ = next.Close() // it gives no error
		}
		s.mu.Unlock()
	}
}

// Close implements eventstore.Subscription.
func (s *subscription) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shut() {
		close(s.done)
	}
	return s.inner.Close()
}

// Timelines implements eventstore.Store.
func (s *Store) Timelines() eventstore.Timelines {
	if store := s.current(); store != nil {
		return store.Timelines()
	}
	return eventstore.Timelines{}
}

// ID is the identity of the cluster's events, equal on all nodes. REQUIRES: Ready has returned nil.
func (s *Store) ID() uuid.UUID { return s.current().ID() }

// Now is the time now as the node would record it as the leader.
func (s *Store) Now() time.Time {
	if store := s.current(); store != nil {
		return store.Now()
	}
	return time.Now()
}

// PositionAt is the position of the newest event that was recorded at or before the time; 0: there is none.
func (s *Store) PositionAt(ctx context.Context, at time.Time) (eventstore.Position, error) {
	for {
		g := s.generation.Load()
		if g == nil {
			return 0, s.notReady()
		}
		position, err := g.PositionAt(ctx, at)
		if !s.replacing(ctx, nil, g, err) {
			return position, err
		}
	}
}

// Durable is the position up to which this node has applied events. It does not ask the other nodes.
func (s *Store) Durable() eventstore.Position {
	if store := s.current(); store != nil {
		return store.Durable()
	}
	return 0
}

// DiskUsage is the number of bytes that the files of the store and the log take.
func (s *Store) DiskUsage() uint64 {
	used := s.log.diskUsage()
	if store := s.current(); store != nil {
		used += store.DiskUsage()
	}
	return used
}

// Embedded is the store of this node, for a backup. Another one may take its place later, and then it is closed.
func (s *Store) Embedded() *pebblestore.Store { return s.current() }
