package commands

import (
	"context"
	"errors"

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

// Create makes a webhook under a new id.
func (w *Webhooks) Create(ctx context.Context, caller Caller, c domain.CreateWebhook) (id string, err error) {
	made, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	return made.String(), w.Do(ctx, caller, made.String(), c)
}

// Do carries out one command.
func (w *Webhooks) Do(ctx context.Context, caller Caller, id string, command domain.WebhookCommand) error {
	for range attempts {
		state, err := w.Load(ctx, id)
		if err != nil {
			return err
		}
		event, err := domain.DecideWebhook(state, command)
		if err != nil || event == nil {
			return err
		}
		at, err := appendTo(ctx, w.Store, eventstore.WebhookStream(id), eventstore.Unchanged(state.Events), caller, event)
		if errors.As(err, new(*eventstore.WrongExpectedRevision)) {
			continue
		}
		if err != nil {
			return err
		}
		return w.WaitFor(ctx, at)
	}
	return ErrContended
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
