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
// with the position of the last event that came, at another node.
func (c *Client) resumed(ctx context.Context, q EventQuery, once func(context.Context, EventQuery, func(wire.Position)) iter.Seq2[Event, error]) iter.Seq2[Event, error] {
	began := func(at wire.Position) { // a stream of new events only, which must not leave out any
		if q.After = at; at.Number == 0 {
			q.From = "0"
		}
	}
	if len(c.nodes.urls) == 1 {
		return once(ctx, q, func(wire.Position) {})
	}
	return func(yield func(Event, error) bool) {
		begun, wait := false, firstPause
		for failures := 0; ; failures++ {
			var failed error
			for e, err := range once(ctx, q, began) {
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
			if !begun || isRefused(failed) || errors.As(failed, new(*NotRollcall)) || failures == maxResumes || ctx.Err() != nil {
				yield(Event{}, failed)
				return
			}
			pause(ctx, wait/2+rand.N(wait/2))
			wait = min(2*wait, maxPause)
		}
	}
}
