package commands_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/access"
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

// holdingStore holds appends until they are released.
type holdingStore struct {
	eventstore.Store
	held     chan struct{} // has an element for each append that came
	released chan struct{} // closed when appends may go on
}

func (s *holdingStore) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	s.held <- struct{}{}
	<-s.released
	return s.Store.Append(ctx, into, requests...)
}

// Commands to one stream take turns. A caller that gives up meanwhile does not wait for the turn, and its command is not carried out.
func TestACallerThatGivesUpDoesNotWaitForItsTurn(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, store eventstore.Store) (do func(context.Context, string) error, has func(string) bool){
		"policies": func(t *testing.T, store eventstore.Store) (func(context.Context, string) error, func(string) bool) {
			table, err := policies.Open(ctx, store, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			follow(t, store, func(ctx context.Context) { _ = table.Run(ctx, store) })
			p := &commands.Policies{Store: store, State: table, Catalog: table}
			return func(ctx context.Context, name string) error {
				return p.Do(ctx, caller, domain.SetPolicy{Name: name, Spec: domain.PolicySpec{MinReady: "1"}})
			}, func(name string) bool { return table.Find(name) != nil }
		},
		"roles": func(t *testing.T, store eventstore.Store) (func(context.Context, string) error, func(string) bool) {
			table, err := access.Open(ctx, store, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			follow(t, store, func(ctx context.Context) { _ = table.Run(ctx, store) })
			a := &commands.Access{Store: store, State: table, Now: time.Now}
			return func(ctx context.Context, name string) error {
				return a.Do(ctx, caller, domain.SetRole{Name: name, Grants: []domain.RoleGrant{{Verbs: []string{"read-catalog"}}}})
			}, func(name string) bool { _, ok := table.Role(name); return ok }
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := &holdingStore{eventstoretest.NewMemory(), make(chan struct{}, 9), make(chan struct{})}
			do, has := open(t, store)
			first := make(chan error, 1)
			go func() { first <- do(ctx, "first") }()
			<-store.held
			gone, giveUp := context.WithCancel(ctx)
			second := make(chan error, 1)
			go func() { second <- do(gone, "second") }()
			giveUp()
			if err := <-second; !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up was answered %v", err)
			}
			close(store.released)
			if err := <-first; err != nil {
				t.Fatal(err)
			}
			if err := do(ctx, "third"); err != nil {
				t.Fatal(err)
			}
			if !has("first") || has("second") || !has("third") {
				t.Errorf("first %v, second %v, third %v", has("first"), has("second"), has("third"))
			}
		})
	}
}

// follow runs a projection until the test ends.
func follow(t *testing.T, store eventstore.Store, run func(context.Context)) {
	running, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { run(running) })
	t.Cleanup(func() { stop(); group.Wait(); _ = store.Close() })
}
