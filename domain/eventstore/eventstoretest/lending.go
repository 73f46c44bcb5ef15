package eventstoretest

import (
	"context"
	"slices"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Lending is a store whose subscriptions write over a batch once the next one is asked for, as a store may do
// that uses its memory again. Whoever keeps an event of a batch finds out.
type Lending struct{ eventstore.Store }

// Subscribe implements eventstore.Store.
func (l Lending) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	sub, err := l.Store.Subscribe(ctx, opts)
	return &lending{Subscription: sub}, err
}

type lending struct {
	eventstore.Subscription
	lent []eventstore.RecordedEvent
}

// Next implements eventstore.Subscription.
func (l *lending) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	for i := range l.lent {
		l.lent[i] = eventstore.RecordedEvent{Stream: "overwritten", EventData: eventstore.EventData{Type: "overwritten", Data: []byte("overwritten")}}
	}
	events, position, err := l.Subscription.Next(ctx)
	l.lent = slices.Clone(events)
	return l.lent, position, err
}
