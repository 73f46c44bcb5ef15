// Package webhooks is the projection of the existing webhooks.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
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
	byID map[string]domain.Webhook // those that exist: a deleted webhook leaves nothing
	ids  []string                  // of byID, in order
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
		_, _ = l.apply(&e) // an event that cannot be applied changes nothing
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
	opts := eventstore.SubscribeOptions{After: l.Position(), Filter: filter, OnlyPicked: true}
	err := projections.Follow(ctx, store, opts, func(events []eventstore.RecordedEvent, position eventstore.Position) error {
		for i := range events {
			w, err := l.apply(&events[i])
			if err != nil {
				logger.Error("event is kept but cannot be applied", "position", events[i].Position, "stream", events[i].Stream, "cause", err)
				continue
			}
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

// apply gives the webhook as the event has left it.
func (l *List) apply(e *eventstore.RecordedEvent) (w domain.Webhook, err error) {
	event, err := eventstore.Decode(e)
	if err != nil {
		return w, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := idOf(e)
	before, exists := l.byID[id]
	if _, created := event.(domain.WebhookCreated); !exists && !created {
		return domain.Webhook{ID: id, Deleted: true}, nil // nothing comes after its deletion
	}
	before.ID = id
	w = domain.EvolveWebhook(before, event)
	at, _ := slices.BinarySearch(l.ids, id)
	switch {
	case exists && !w.Exists():
		delete(l.byID, id)
		l.ids = slices.Delete(l.ids, at, at+1)
	case w.Exists():
		if l.byID[id] = w; !exists {
			l.ids = slices.Insert(l.ids, at, id)
		}
	}
	return w, nil
}

// All are the webhooks that exist, in order of their ids: the oldest first.
func (l *List) All() []domain.Webhook {
	all, _ := l.Page("", math.MaxInt)
	return all
}

// Page gives at most limit of the webhooks whose ids come after one, the oldest first, and whether there are more.
func (l *List) Page(after string, limit int) (page []domain.Webhook, more bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, found := slices.BinarySearch(l.ids, after)
	if found {
		at++
	}
	rest := l.ids[at:]
	for _, id := range rest[:min(limit, len(rest))] {
		page = append(page, l.byID[id])
	}
	return page, len(rest) > len(page)
}

// Find is a webhook; ok is false when it does not exist.
func (l *List) Find(id string) (w domain.Webhook, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	w, ok = l.byID[id]
	return w, ok
}
