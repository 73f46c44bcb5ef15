package commands

import (
	"context"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// A heartbeat is answered as received only if the instance was live, in the heartbeat's epoch, where the
// heartbeat stands. A store that ties the append to the lifecycle stream sees to that. After an append to a store
// that cannot, the answer is looked up: what stands before the heartbeat's position will never change.

// untiedWait is how long an untied heartbeat waits for the projections, which spare a read of the stream.
const untiedWait = 2 * time.Second

// awaitUntied waits until the projections have reached the untied results, for as long as makes sense, and says
// whether they have.
func (s *Service) awaitUntied(ctx context.Context, results []eventstore.AppendResult) (level bool) {
	var last eventstore.Position
	for i := range results {
		if results[i].Untied && results[i].Err == nil {
			last = max(last, results[i].Position)
		}
	}
	if last == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, untiedWait)
	defer cancel()
	return s.progress.WaitFor(ctx, last) == nil
}

// accepted says whether the heartbeat, decided on the entry, holds where it was appended.
func (s *Service) accepted(ctx context.Context, decidedOn *catalog.Entry, appended *eventstore.AppendResult, level bool) (bool, error) {
	if appended.Err != nil {
		return false, nil
	}
	if !appended.Untied {
		return true, nil
	}
	return s.held(ctx, decidedOn.Key(), decidedOn.Epoch, appended.Position, level)
}

// held says whether an untied heartbeat of the epoch holds at its position; level says that the projections have
// reached it. If the epoch expired meanwhile, the
// heartbeat has lost against an expiry that did not see it, wherever the two stand: to answer it as received would
// keep nothing.
func (s *Service) held(ctx context.Context, key domain.Key, epoch uint64, position eventstore.Position, level bool) (bool, error) {
	if level {
		if entry := s.catalog().Find(key); entry != nil && entry.Epoch == epoch {
			return true, nil
		}
	}
	state := domain.Instance{Key: key}
	for e, err := range s.store.ReadStream(ctx, eventstore.LifecycleStream(key), eventstore.ReadOptions{}) {
		if err != nil {
			return false, err
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			continue // another program's, which changes nothing
		}
		if expired, ok := event.(domain.LeaseExpired); ok && expired.Epoch == epoch {
			return false, nil
		}
		if e.Position < position {
			state = domain.Evolve(state, event, eventstore.RecordOf(&e))
		}
	}
	return state.Live() && state.Epoch == epoch, nil
}
