package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Subscribable is the part of an event store that Follow needs.
type Subscribable interface {
	Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error)
}

// Follow subscribes and hands every batch to apply, in order, with the position up to which the store has been
// looked through. It returns nil when the context ends or the store is closed, and else what went wrong, which
// may be apply's error.
//
// A batch is lent: the slice is valid until apply returns, and whoever keeps an event copies it. What an event
// points to is never changed, so the copy may be shallow.
func Follow(ctx context.Context, store Subscribable, opts eventstore.SubscribeOptions, apply func(events []eventstore.RecordedEvent, position eventstore.Position) error) error {
	sub, err := store.Subscribe(ctx, opts)
	if err != nil {
		return ended(ctx, fmt.Errorf("subscribe after position %d: %w", opts.After, err))
	}
	defer sub.Close()
	for {
		events, position, err := sub.Next(ctx)
		if err == nil {
			err = apply(events, position)
		}
		if err != nil {
			return ended(ctx, err)
		}
	}
}

// ended is nil for an error that only says that the context has ended or the store was closed.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, eventstore.ErrClosed) {
		return nil
	}
	return err
}
