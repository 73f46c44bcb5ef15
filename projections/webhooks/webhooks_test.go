package webhooks_test

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
)

func happen(t *testing.T, store eventstore.Store, id string, event domain.Event) {
	t.Helper()
	data, err := domain.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Append(t.Context(), nil, eventstore.AppendRequest{
		Stream: eventstore.WebhookStream(id), Events: []eventstore.EventData{{Type: event.EventType(), Data: data, Metadata: []byte("{}")}},
	}); err != nil {
		t.Fatal(err)
	}
}

// Whoever delivers is told of a deletion, and of what a stream holds behind it as of one; the list keeps nothing.
func TestADeletedWebhookLeavesNothing(t *testing.T) {
	store := eventstoretest.NewMemory()
	l, err := webhooks.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told []string
	var group sync.WaitGroup
	group.Go(func() {
		if err := l.Run(t.Context(), store, slog.New(slog.DiscardHandler), func(w domain.Webhook) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(w.ID, w.Exists()))
		}); err != nil {
			t.Error(err)
		}
	})
	for _, id := range []string{"b", "a", "c"} {
		happen(t, store, id, domain.WebhookCreated{WebhookSpec: domain.WebhookSpec{URL: "http://x"}})
	}
	happen(t, store, "a", domain.WebhookDeleted{})
	happen(t, store, "a", domain.WebhookPaused{})
	head, err := store.Head(t.Context())
	if err == nil {
		err = l.WaitFor(t.Context(), head)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := webhooks.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*webhooks.List{l, again} {
		all := l.All()
		if _, ok := l.Find("a"); ok || len(all) != 2 || all[0].ID != "b" || all[1].ID != "c" {
			t.Errorf("the list is %+v", all)
		}
	}
	if page, more := l.Page("a", 1); len(page) != 1 || page[0].ID != "b" || !more {
		t.Errorf("the page is %+v, %v", page, more)
	}
	if page, more := l.Page("b", 5); len(page) != 1 || page[0].ID != "c" || more {
		t.Errorf("the page is %+v, %v", page, more)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"btrue", "atrue", "ctrue", "afalse", "afalse"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
}
