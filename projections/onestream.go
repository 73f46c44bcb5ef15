package projections

import (
	"context"
	"errors"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// OneStream is how a projection of one short stream gets its events. apply must be idempotent: Fold may read events behind
// the position that it reaches, and Follow gives them once more.
type OneStream struct {
	Store  eventstore.Store
	Stream eventstore.StreamName
	Apply  func(*eventstore.RecordedEvent)
}

// Fold applies the stream as it stands. When the store cannot be reached, Follow applies it later.
func (o OneStream) Fold(ctx context.Context, progress *Progress) error {
	head, err := o.Store.Head(ctx)
	if errors.Is(err, eventstore.ErrUnavailable) {
		return nil
	}
	if err != nil || head == 0 {
		return err
	}
	for e, err := range o.Store.ReadStream(ctx, o.Stream, eventstore.ReadOptions{}) {
		if err != nil {
			return err
		}
		o.Apply(&e)
	}
	progress.Advance(head)
	return nil
}

// Follow applies events as they come until the context ends. The progress may stay behind the store, at the newest event of the
// stream.
func (o OneStream) Follow(ctx context.Context, progress *Progress) error {
	filter := eventstore.Filter{StreamPrefixes: []string{string(o.Stream)}, Exact: true}
	opts := eventstore.SubscribeOptions{After: progress.Position(), Filter: filter, Urgent: true, OnlyPicked: true}
	return Follow(ctx, o.Store, opts, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		for i := range events {
			o.Apply(&events[i])
		}
		progress.Advance(position)
		return nil
	})
}
