package commands_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// lossy is a store that loses the answers to appends, on demand.
type lossy struct {
	eventstore.Store
	loses bool
}

var errLost = fmt.Errorf("%w: the answer was lost", eventstore.ErrUnavailable)

func (s *lossy) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	results, err := s.Store.Append(ctx, into, requests...)
	if s.loses && err == nil {
		return nil, errLost
	}
	return results, err
}

// types are the types of an instance's lifecycle events.
func types(t *testing.T, store eventstore.Store, key domain.Key) (all string) {
	t.Helper()
	for e, err := range store.ReadStream(ctx, eventstore.LifecycleStream(key), eventstore.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all += e.Type + " "
	}
	return all
}

// Each command is sent until its answer is not lost, and others change the instance meanwhile.
func TestACommandWithAKeyIsCarriedOutOnce(t *testing.T) {
	store := &lossy{Store: eventstoretest.NewMemory()}
	n := start(t, store, true)
	defer n.stop()
	key := domain.Key{Namespace: "default", Service: "web", ID: "1"}
	register := domain.RegisterInstance{Key: key, CreateOnly: true, Details: domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL, Weight: 100}}
	check := domain.Check{ID: "up", Kind: domain.CheckTTL, TTL: domain.Duration(domain.DefaultTTL)}
	do := func(once string, command domain.Command) commands.Result {
		return n.service.Do(ctx, caller, commands.Request{Command: command, Once: once})
	}
	other := func(command domain.Command) {
		t.Helper()
		if r := n.service.Do(ctx, commands.Caller{Actor: "bob"}, commands.Request{Command: command}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	var want string
	for i, step := range []struct {
		command domain.Command
		event   string
		undo    domain.Command // of another caller, before the command comes again
		undone  string
	}{
		{register, domain.TypeInstanceRegistered, domain.DeregisterInstance{Key: key}, domain.TypeInstanceDeregistered},
		{register, domain.TypeInstanceRegistered, nil, ""},
		{domain.ReportHealth{Key: key, Status: domain.Critical, Source: domain.FromClient}, domain.TypeHealthChanged, domain.ReportHealth{Key: key, Status: domain.Passing, Source: domain.FromClient}, domain.TypeHealthChanged},
		{domain.ChangeTraffic{Key: key, Traffic: domain.Draining}, domain.TypeTrafficChanged, domain.ChangeTraffic{Key: key, Traffic: domain.Serving}, domain.TypeTrafficChanged},
		{domain.AddCheck{Key: key, Check: check}, domain.TypeCheckAdded, domain.RemoveCheck{Key: key, Check: "up"}, domain.TypeCheckRemoved},
		{domain.DeregisterInstance{Key: key}, domain.TypeInstanceDeregistered, nil, ""},
	} {
		once := fmt.Sprint("key ", i)
		store.loses = true
		if r := do(once, step.command); !errors.Is(r.Err, errLost) {
			t.Fatalf("%T: %v", step.command, r.Err)
		}
		store.loses = false
		want += step.event + " "
		head, err := store.Head(ctx)
		if err == nil {
			err = n.projections.WaitFor(ctx, head)
		}
		if err != nil {
			t.Fatal(err)
		}
		first := do(once, step.command)
		if step.undo != nil {
			other(step.undo)
			want += step.undone + " "
		}
		second := do(once, step.command)
		if first.Err != nil || first != second {
			t.Errorf("%T: sent again it gave %+v, and then %+v", step.command, first, second)
		}
		if got := types(t, store, key); got != want {
			t.Errorf("%T: the events are %s, want %s", step.command, got, want)
		}
		if _, registers := step.command.(domain.RegisterInstance); registers && (!first.Created || first.Outcome != commands.RegistrationCreated || first.Epoch != uint64(i)+1) {
			t.Errorf("a registration that is sent again is answered with %+v", first)
		}
	}
	r := do("key 5", register)
	if invalid := (domain.InvalidField{}); !errors.As(r.Err, &invalid) || invalid.Field != "Idempotency-Key" {
		t.Errorf("a key that comes with another command gave %+v", r)
	}
	if r := n.service.Do(ctx, commands.Caller{Actor: "bob"}, commands.Request{Command: register, Once: "key 1"}); r.Err != nil || !r.Created {
		t.Errorf("another caller's key gave %+v", r)
	}
}

// A batch that is sent again is carried out once, item by item.
func TestABatchWithAKeyIsCarriedOutOnce(t *testing.T) {
	store := &lossy{Store: eventstoretest.NewMemory()}
	n := start(t, store, true)
	defer n.stop()
	var batch []commands.Request
	for i := range 3 {
		key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint(i)}
		batch = append(batch, commands.Request{Once: fmt.Sprint("key/", i), Command: domain.RegisterInstance{
			Key: key, CreateOnly: true, Details: domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL, Weight: 100},
		}})
	}
	if r := n.service.Do(ctx, caller, batch[1]); r.Err != nil {
		t.Fatal(r.Err)
	}
	store.loses = true
	n.service.DoAll(ctx, caller, batch)
	store.loses = false
	for i, r := range n.service.DoAll(ctx, caller, batch) {
		if r.Err != nil || !r.Created || r.Revision != 0 {
			t.Errorf("item %d: %+v", i, r)
		}
	}
}

// Attempts of one command that are under way at once come to one event.
func TestAttemptsAtOnceAreOneCommand(t *testing.T) {
	store := eventstoretest.NewMemory()
	n := start(t, store, true)
	defer n.stop()
	key := domain.Key{Namespace: "default", Service: "web", ID: "1"}
	register := commands.Request{Once: "key", Command: domain.RegisterInstance{
		Key: key, CreateOnly: true, Details: domain.Details{Address: "10.0.0.1", TTL: domain.NoTTL, Weight: 100},
	}}
	results := make([]commands.Result, 8)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() { results[i] = n.service.Do(ctx, caller, register) })
	}
	group.Wait()
	for i, r := range results {
		if r.Err != nil || r != results[0] || !r.Created {
			t.Errorf("attempt %d gave %+v, the first %+v", i, r, results[0])
		}
	}
	if got := types(t, store, key); got != domain.TypeInstanceRegistered+" " {
		t.Errorf("the events are %s", got)
	}
}
