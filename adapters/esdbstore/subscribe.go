package esdbstore

import (
	"context"
	"errors"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

const (
	maxUnread  = 512 // events in the buffer of a subscription; when it is full, the database waits
	firstRetry = 20 * time.Millisecond
	maxRetry   = 500 * time.Millisecond
)

// errCaughtUp ends a read by subscription where the database says that there are no more events.
var errCaughtUp = errors.New("caught up")

// subscription follows $all after the last event that it gave, over any number of lost nodes. REQUIRES: one goroutine at a
// time calls Next. Any goroutine may call Close at any time, because Close only ends the context.
type subscription struct {
	store         *Store
	filter        eventstore.Filter
	lives         context.Context // ends with the subscription and with the store
	end           context.CancelFunc
	position      eventstore.Position // events up to here were given, or the filter did not pick them
	untilCaughtUp bool                // a read: end where the live events begin

	inner *inner // nil: there is none; the next call of Next opens one
	retry time.Duration
}

// inner is a subscription at one node. A goroutine receives its events.
type inner struct {
	items  chan item // closed by the goroutine; when it is full, the goroutine waits
	cancel context.CancelFunc
}

type item struct {
	event    eventstore.RecordedEvent // where its position is not 0
	looked   eventstore.Position      // a checkpoint
	caughtUp bool
	err      *answer
}

func (s *Store) newSubscription(after eventstore.Position, filter eventstore.Filter) *subscription {
	sub := &subscription{store: s, filter: filter, position: after}
	sub.lives, sub.end = context.WithCancel(s.lives)
	return sub
}

// Subscribe implements eventstore.Store.
func (s *Store) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	return s.newSubscription(opts.After, opts.Filter), nil
}

// Next implements eventstore.Subscription. While the database is away it waits.
func (s *subscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	for {
		if err := s.ended(ctx); err != nil {
			return nil, s.position, err
		}
		if s.inner == nil {
			if err := s.open(ctx); err != nil {
				return nil, s.position, err
			}
		}
		events, err := s.take(ctx)
		if len(events) > 0 || err != nil {
			return events, s.position, err
		}
	}
}

func (s *subscription) ended(ctx context.Context) error {
	if s.lives.Err() != nil {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// take waits for an event, and takes the events that are in the buffer with it.
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
			case <-s.lives.Done():
				return nil, eventstore.ErrClosed
			}
		}
		switch {
		case !ok:
			s.inner = nil
			return events, nil
		case i.err != nil:
			return events, s.dropped(i.err)
		case i.caughtUp:
			if s.untilCaughtUp {
				return events, errCaughtUp
			}
		case i.looked > 0:
			s.position = max(s.position, i.looked)
		default:
			s.retry = 0
			if i.event.Position <= s.position {
				continue // it was given before the connection was lost
			}
			s.position = i.event.Position
			if s.filter.Match(i.event.Stream, i.event.Type) {
				events = append(events, i.event)
			}
		}
		if len(events) >= maxUnread {
			return events, nil
		}
	}
}

// dropped lets go of the subscription at the node, and says whether that is the end of this one.
func (s *subscription) dropped(why *answer) error {
	s.inner = nil
	switch {
	case s.lives.Err() != nil:
		return eventstore.ErrClosed
	case s.untilCaughtUp || why.verdict == denied:
		return why
	}
	s.store.opts.Logger.Info("a subscription was lost; it goes on from the last event", "position", s.position, "cause", why.err)
	s.retry = min(max(2*s.retry, firstRetry), maxRetry)
	return nil
}

// open subscribes at the leader, when there is one.
func (s *subscription) open(ctx context.Context) error {
	pauseFor(ctx, s.retry)
	l, err := s.leader(ctx)
	if err != nil {
		return err
	}
	lives, cancel := context.WithCancel(asLeader(s.lives))
	n := &inner{items: make(chan item, maxUnread), cancel: cancel}
	s.inner = n
	request := subscribeRequest(s.position, s.filter.StreamPrefixes)
	go func() { // it ends with the subscription, or with the link
		defer cancel()
		defer close(n.items)
		stop := context.AfterFunc(l.serving, cancel)
		err := receive(lives, l, request, n.items)
		stop()
		if l.serving.Err() == nil {
			_ = s.store.broken(lives, l, err)
		}
		s.store.release(l)
		select {
		case n.items <- item{err: err}:
		case <-s.lives.Done():
		}
	}()
	return nil
}

// leader waits for a link to the leader. A read waits for LeaderWait at most.
func (s *subscription) leader(ctx context.Context) (*link, error) {
	for {
		l, err := s.store.acquire(ctx)
		if err == nil || s.untilCaughtUp {
			return l, err
		}
		if err := s.ended(ctx); err != nil {
			return nil, err
		}
		s.store.mu.Lock()
		changed := s.store.changed
		here := s.store.link != nil
		s.store.mu.Unlock()
		if here {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.lives.Done():
			return nil, eventstore.ErrClosed
		}
	}
}

// receive puts what a node sends into items until it ends, and returns why it did.
func receive(ctx context.Context, l *link, request *streams.ReadReq, items chan<- item) *answer {
	r, err := l.client.Read(ctx, request)
	if err != nil {
		return judge(err, nil)
	}
	for {
		resp, err := r.Recv()
		if err != nil {
			return judge(err, r.Trailer())
		}
		i, ok := received(resp)
		if !ok {
			continue
		}
		select {
		case items <- i:
		case <-ctx.Done():
			return judge(ctx.Err(), nil)
		}
	}
}

// received is the content of a message of a subscription; ok is false for messages that are not used.
func received(resp *streams.ReadResp) (i item, ok bool) {
	switch content := resp.GetContent().(type) {
	case *streams.ReadResp_Event:
		i.event, ok = recorded(content.Event)
		return i, ok
	case *streams.ReadResp_Checkpoint_:
		return item{looked: eventstore.Position(content.Checkpoint.GetCommitPosition())}, true
	case *streams.ReadResp_CaughtUp_:
		return item{caughtUp: true}, true
	}
	return i, false
}

// Close implements eventstore.Subscription.
func (s *subscription) Close() error {
	s.end()
	return nil
}
