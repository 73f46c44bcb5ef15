package client

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// maxResumes is how often events are asked for again in a row without any that came.
const maxResumes = 6

// resumed yields the events of once. If the registry has several nodes, and a connection breaks, resumed calls once again
// with the position of the last event that came, at another node. follows says that once yields new events only, where the query
// names no position.
func (c *Client) resumed(ctx context.Context, q EventQuery, follows bool, once func(context.Context, EventQuery, func(*answer) error) iter.Seq2[Event, error]) iter.Seq2[Event, error] {
	if len(c.nodes.urls) == 1 {
		return once(ctx, q, func(*answer) error { return nil })
	}
	var from origin
	again := false // a connection broke
	opened := func(a *answer) error {
		if err := from.opened(ctx, c, a, again); err != nil || !follows || streamFrom(q) != "" {
			return err
		}
		if at, err := a.position(); err == nil { // a stream of new events only, which must not leave out any
			if q.After = at; at.Number == 0 {
				q.From = "0"
			}
		}
		return nil
	}
	return func(yield func(Event, error) bool) {
		begun, wait := false, firstPause
		for failures := 0; ; failures++ {
			var failed error
			for e, err := range once(ctx, q, opened) {
				if err != nil {
					failed = err
					break
				}
				if !yield(e, nil) {
					return
				}
				q.After = wire.PositionOf(&e.RecordedEvent)
				begun, failures, wait = true, 0, firstPause
			}
			begun = begun || errors.As(failed, new(*Broken))
			if failed == nil {
				return
			}
			if !begun || isRefused(failed) || errors.As(failed, new(*NotRollcall)) || errors.As(failed, new(*OtherRegistry)) || failures == maxResumes || ctx.Err() != nil {
				yield(Event{}, failed)
				return
			}
			again = true
			pause(ctx, wait/2+rand.N(wait/2))
			wait = min(2*wait, maxPause)
		}
	}
}
