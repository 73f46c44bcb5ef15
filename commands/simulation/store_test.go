package simulation

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// weather is what the event store is like at present.
type weather uint8

const (
	fair    weather = iota
	away            // it cannot be reached; nothing is written
	full            // it takes no appends: the disk is full
	mute            // it appends, but its answers are lost
	slow            // an append takes seconds
	drowned         // an append takes seconds, and then its answer is lost
)

func (w weather) String() string {
	return [...]string{"fair", "away", "full", "mute", "slow", "drowned"}[w]
}

// store is the event store as one node sees it.
type store struct {
	eventstore.Store
	world *world
	node  *node
}

// Append implements eventstore.Store.
func (s *store) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	w := s.world
	if w.group != nil {
		return s.replicate(ctx, into, requests)
	}
	if expires(requests) {
		if ambush := w.ambush.Swap(nil); ambush != nil { // somebody is quicker by a hair
			(*ambush)()
		}
	}
	began := time.Now()
	switch w.now() {
	case away:
		return nil, eventstore.ErrUnavailable
	case full:
		return nil, eventstore.ErrDiskFull
	case slow, drowned:
		if !w.plan.untying { // one commit after the other, as the embedded store does it
			select {
			case w.committer <- struct{}{}:
				defer func() { <-w.committer }()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		time.Sleep(w.delay())
		if s.node.dead.Load() {
			return nil, eventstore.ErrClosed
		}
	}
	now := w.now()
	lost := now == mute || now == drowned
	results, err := s.Store.Append(ctx, into, requests...)
	if err != nil {
		return nil, err
	}
	w.appended(s.Store, began)
	if lost {
		return nil, eventstore.ErrUnavailable
	}
	return results, nil
}

// Head implements eventstore.Store.
func (s *store) Head(ctx context.Context) (eventstore.Position, error) {
	if s.world.group == nil && s.world.now() == away {
		return 0, eventstore.ErrUnavailable
	}
	return s.Store.Head(ctx)
}

// state is why the store says that it takes no appends.
func (s *store) state() error {
	if s.world.group != nil {
		return s.world.group.stores[s.node.name].Err()
	}
	switch s.world.now() {
	case full:
		return eventstore.ErrDiskFull
	case away:
		return eventstore.ErrUnavailable
	}
	return nil
}

// expires says whether an append takes an instance out for its silence.
func expires(requests []eventstore.AppendRequest) bool {
	for i := range requests {
		for j := range requests[i].Events {
			if requests[i].Events[j].Type == domain.TypeLeaseExpired {
				return true
			}
		}
	}
	return false
}
