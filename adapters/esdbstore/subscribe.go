package esdbstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	searchWindow  = 128 // events that the database looks through between two checkpoints
	subscribeRoom = 512 // events that wait for the reader; then the database waits
	firstRetry    = 50 * time.Millisecond
	maxRetry      = 5 * time.Second
)

// errCaughtUp ends a reading subscription where the database says that it has no more.
var errCaughtUp = errors.New("caught up")

// subscription follows $all from the last event seen, through any number of lost nodes. It is used by
// one goroutine, except for Close.
type subscription struct {
	store         *Store
	filter        eventstore.Filter
	position      eventstore.Position // looked through up to here
	untilCaughtUp bool                // a read: end where the live events begin

	inner *inner // nil: to be opened
	retry time.Duration
	done  chan struct{}
	once  sync.Once
}

// inner is one subscription of the client's, whose events a goroutine takes in.
type inner struct {
	items  chan item // closed by the goroutine; when it is full, the goroutine waits
	cancel context.CancelFunc
	ended  chan struct{} // closed when the goroutine has ended
}

type item struct {
	event    eventstore.RecordedEvent // where its position is not 0
	looked   eventstore.Position      // a checkpoint
	caughtUp bool
	err      error
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

// Next implements eventstore.Subscription. While the database is away it waits.
func (s *subscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	for {
		select {
		case <-s.done:
			return nil, s.position, eventstore.ErrClosed
		case <-s.store.closing:
			return nil, s.position, eventstore.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return nil, s.position, err
		}
		if s.inner == nil {
			if err := s.open(ctx); err != nil {
				if errors.Is(err, eventstore.ErrClosed) || errors.Is(err, eventstore.ErrAccessDenied) || ctx.Err() != nil || s.untilCaughtUp {
					return nil, s.position, err
				}
				s.retry = min(max(2*s.retry, firstRetry), maxRetry)
				pauseFor(ctx, s.retry)
				continue
			}
		}
		events, err := s.take(ctx)
		if len(events) > 0 || err != nil {
			return events, s.position, err
		}
	}
}

// take waits for an event and takes those that wait with it.
func (s *subscription) take(ctx context.Context) ([]eventstore.RecordedEvent, error) {
	var events []eventstore.RecordedEvent
	for {
		var i item
		var ok bool
		if len(events) > 0 {
			select {
			case i, ok = <-s.inner.items:
			default:
				return events, nil
			}
		} else {
			select {
			case i, ok = <-s.inner.items:
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-s.done:
				return nil, eventstore.ErrClosed
			case <-s.store.closing:
				return nil, eventstore.ErrClosed
			}
		}
		switch {
		case !ok || i.err != nil:
			s.drop()
			if s.untilCaughtUp {
				return events, errors.Join(eventstore.ErrUnavailable, i.err)
			}
			if ok && i.err != nil {
				s.store.opts.Logger.Warn("a subscription was lost; it goes on from the last event", "position", s.position, "cause", i.err)
				_, _ = s.store.judge(i.err) // notes that the database is away, if it is
			}
			return events, nil
		case i.caughtUp:
			if s.untilCaughtUp {
				return events, errCaughtUp
			}
		case i.looked > 0:
			s.position = max(s.position, i.looked)
		default:
			s.retry = 0
			if i.event.Position <= s.position {
				continue // it was seen before the connection was lost
			}
			s.position = i.event.Position
			if s.filter.Match(i.event.Stream, i.event.Type) {
				events = append(events, i.event)
			}
		}
		if len(events) >= subscribeRoom {
			return events, nil
		}
	}
}

func (s *subscription) open(ctx context.Context) error {
	if !s.untilCaughtUp {
		if err := s.store.waitFor(ctx); err != nil {
			return err
		}
	}
	client, err := s.store.connection()
	if err != nil {
		return err
	}
	opts := esdb.SubscribeToAllOptions{From: esdb.Start{}, MaxSearchWindow: searchWindow, Filter: esdb.ExcludeSystemEventsFilter()}
	if s.position > 0 {
		opts.From = place(s.position)
	}
	if len(s.filter.StreamPrefixes) > 0 {
		opts.Filter = &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: s.filter.StreamPrefixes}
	}
	lives, cancel := context.WithCancel(s.store.lives)
	sub, err := run(s.store, ctx, func(context.Context) (*esdb.Subscription, error) { return client.SubscribeToAll(lives, opts) })
	if err != nil {
		cancel()
		return s.store.readError(ctx, err)
	}
	n := &inner{items: make(chan item, subscribeRoom), cancel: cancel, ended: make(chan struct{})}
	s.inner = n
	go func() {
		defer close(n.ended)
		defer close(n.items)
		defer sub.Close()
		for {
			i, ok := next(sub)
			if !ok {
				continue
			}
			select {
			case n.items <- i:
			case <-lives.Done():
				return
			}
			if i.err != nil {
				return
			}
		}
	}()
	return nil
}

// next is what a subscription of the client's says next; ok is false when it is of no concern.
func next(sub *esdb.Subscription) (i item, ok bool) {
	e := sub.Recv()
	switch {
	case e.SubscriptionDropped != nil:
		return item{err: e.SubscriptionDropped.Error}, true
	case e.CheckPointReached != nil:
		return item{looked: eventstore.Position(e.CheckPointReached.Commit)}, true
	case e.CaughtUp != nil:
		return item{caughtUp: true}, true
	case e.EventAppeared != nil:
		i.event, ok = recorded(e.EventAppeared)
		return i, ok
	}
	return i, false
}

// drop lets go of the client's subscription.
func (s *subscription) drop() {
	if s.inner != nil {
		s.inner.cancel()
		<-s.inner.ended
		s.inner = nil
	}
}

// Close implements eventstore.Subscription.
func (s *subscription) Close() error {
	s.once.Do(func() {
		close(s.done)
		if s.inner != nil {
			s.inner.cancel()
		}
	})
	return nil
}
