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

// Follow subscribes, and calls apply with every batch of events, in order, and with the position up to which the store
// was read. It returns nil when the context ends or the store is closed, and otherwise the error of the store or of apply.
//
// INVARIANT: the store owns a batch, and may use its memory again when apply has returned. A caller that keeps an event
// copies it. The data that an event points to is never changed, so the copy may be shallow.
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

// ended is nil where the error only says that the context has ended or that the store is closed.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, eventstore.ErrClosed) {
		return nil
	}
	return err
}
