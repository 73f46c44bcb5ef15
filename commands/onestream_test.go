package commands_test

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/policies"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
)

// What is refused, or done already, is answered although the newest event of the store is of a stream that the state is not
// told of.
func TestARefusalDoesNotWaitForEventsOfOtherStreams(t *testing.T) {
	store := eventstoretest.NewMemory()
	n := start(t, store, true)
	defer n.stop()
	table, err := policies.Open(ctx, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	list, err := webhooks.Open(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() { _ = table.Run(t.Context(), store) }) // they end with the store
	group.Go(func() { _ = list.Run(t.Context(), store, slog.New(slog.DiscardHandler), func(domain.Webhook) {}) })
	defer func() { _ = store.Close(); group.Wait() }()
	happen := func() {
		t.Helper()
		if _, err := store.Append(ctx, nil, eventstore.AppendRequest{Stream: "instance-default/web/1", Events: []eventstore.EventData{
			{Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{}`)},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	answered := make(chan error, 1)
	for name, do := range map[string]func() error{
		"a policy that is not there": func() error {
			return (&commands.Policies{Store: store, State: table}).Do(ctx, caller, domain.RemovePolicy{Name: "none"})
		},
		"a webhook that is not there": func() error {
			return (&commands.Webhooks{Store: store, WaitFor: list.WaitFor}).Do(ctx, caller, "none", domain.DeleteWebhook{})
		},
	} {
		happen()
		go func() { answered <- do() }()
		select {
		case err := <-answered:
			if err == nil {
				t.Errorf("%s is no error", name)
			} else if errors.Is(err, commands.ErrContended) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is not answered", name)
		}
	}
}
