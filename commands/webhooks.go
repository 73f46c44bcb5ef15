package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// Webhooks carries out commands to webhooks. Each webhook is a stream.
type Webhooks struct {
	Store eventstore.Store
	// WaitFor waits until the list of webhooks has applied all events up to the position.
	WaitFor func(ctx context.Context, position eventstore.Position) error
}

// Create makes a webhook under a new id, or under the one that follows from the key of the request.
func (w *Webhooks) Create(ctx context.Context, caller Caller, c domain.CreateWebhook) (id string, err error) {
	if caller.Keyed != nil {
		id = OnceID(caller, caller.Keyed.Key).String()
		return id, w.Do(ctx, caller, id, c)
	}
	made, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	return made.String(), w.Do(ctx, caller, made.String(), c)
}

// Do carries out one command.
func (w *Webhooks) Do(ctx context.Context, caller Caller, id string, command domain.WebhookCommand) error {
	_, err := decideOn(ctx, w.Store, eventstore.WebhookStream(id), waiting(w.WaitFor), caller, func() (domain.Event, uint64, error) {
		state, err := w.Load(ctx, id)
		if err != nil {
			return nil, 0, err
		}
		event, err := domain.DecideWebhook(state, command)
		return event, state.Events, err
	})
	return err
}

// Load is the fold of a webhook's stream.
func (w *Webhooks) Load(ctx context.Context, id string) (domain.Webhook, error) {
	state := domain.Webhook{ID: id}
	for e, err := range w.Store.ReadStream(ctx, eventstore.WebhookStream(id), eventstore.ReadOptions{}) {
		if err != nil {
			return state, err
		}
		event, err := eventstore.Decode(&e)
		if err != nil {
			return state, err
		}
		state = domain.EvolveWebhook(state, event)
	}
	return state, nil
}
