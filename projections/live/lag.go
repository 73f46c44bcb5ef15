package live

import (
	"context"
	"time"
)

// Lag is how many positions the projections are behind the store; 0 if the store does not say within a second. Over
// EventStoreDB, positions do not count events.
func (s *State) Lag() uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	head, err := s.opts.Store.Head(ctx)
	if at := s.Position(); err == nil && head > at {
		return uint64(head - at)
	}
	return 0
}

// Measure looks at every tick whether the projections are level with the store, until the context ends.
func (s *State) Measure(ctx context.Context, ticks <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		asked := s.opts.Now()
		look, cancel := context.WithTimeout(ctx, time.Second)
		head, err := s.opts.Store.Head(look)
		if err == nil {
			err = s.WaitFor(look, head)
		}
		cancel()
		if err == nil {
			s.level.Store(&asked)
		}
	}
}

// LagTime is how long ago the projections were last known to be level with the store. Measure looks once a second, so up
// to two seconds are no lag.
func (s *State) LagTime() time.Duration {
	since := s.level.Load()
	if since == nil {
		since = &s.began
	}
	return max(s.opts.Now().Sub(*since), 0)
}
