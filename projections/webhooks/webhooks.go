// Package webhooks is the projection of the existing webhooks.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
)

// List has the webhooks. One goroutine applies events; any goroutine may read.
type List struct {
	projections.Progress

	mu   sync.RWMutex
	byID map[string]domain.Webhook
}

// Open folds the webhooks' streams as they are now. When the store cannot be reached, the list is empty until Run reaches it.
func Open(ctx context.Context, store eventstore.Store) (*List, error) {
	l := &List{byID: make(map[string]domain.Webhook)}
	head, err := store.Head(ctx)
	if errors.Is(err, eventstore.ErrUnavailable) {
		return l, nil
	}
	if err != nil || head == 0 {
		return l, err
	}
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{To: head, Filter: filter}) {
		if err != nil {
			return nil, fmt.Errorf("read webhooks: %w", err)
		}
		_ = l.apply(&e) // an event that cannot be applied changes nothing
	}
	l.Advance(head)
	return l, nil
}

var filter = eventstore.Filter{StreamPrefixes: []string{eventstore.WebhookPrefix}}

// Run applies events as they come, until the context ends. It calls changed with every webhook at first, and then with each
// webhook that has changed.
func (l *List) Run(ctx context.Context, store eventstore.Store, logger *slog.Logger, changed func(domain.Webhook)) error {
	for _, w := range l.All() {
		changed(w)
	}
	opts := eventstore.SubscribeOptions{After: l.Position(), Filter: filter}
	err := projections.Follow(ctx, store, opts, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		for i := range events {
			if err := l.apply(&events[i]); err != nil {
				logger.Error("event is kept but cannot be applied", "position", events[i].Position, "stream", events[i].Stream, "cause", err)
				continue
			}
			w, _ := l.find(idOf(&events[i]))
			changed(w)
		}
		l.Advance(position)
		return nil
	})
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	return nil
}

func idOf(e *eventstore.RecordedEvent) string {
	return strings.TrimPrefix(string(e.Stream), eventstore.WebhookPrefix)
}

func (l *List) apply(e *eventstore.RecordedEvent) error {
	event, err := eventstore.Decode(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := idOf(e)
	w := l.byID[id]
	w.ID = id
	l.byID[id] = domain.EvolveWebhook(w, event)
	return nil
}

// All are the webhooks that exist, in order of their ids: the oldest first.
func (l *List) All() []domain.Webhook {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var all []domain.Webhook
	for _, id := range slices.Sorted(maps.Keys(l.byID)) {
		if w := l.byID[id]; w.Exists() {
			all = append(all, w)
		}
	}
	return all
}

// Find is a webhook; ok is false when it does not exist.
func (l *List) Find(id string) (w domain.Webhook, ok bool) {
	w, _ = l.find(id)
	return w, w.Exists()
}

func (l *List) find(id string) (domain.Webhook, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	w, ok := l.byID[id]
	return w, ok
}
