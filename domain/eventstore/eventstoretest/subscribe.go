package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// take reads from a subscription until it has seen the position.
func take(t *testing.T, sub eventstore.Subscription, until eventstore.Position) []eventstore.RecordedEvent {
	t.Helper()
	var all []eventstore.RecordedEvent
	for {
		batch, position, err := sub.Next(ctx)
		if err != nil {
			t.Errorf("subscription: %v", err)
			return all
		}
		if len(batch) == 0 || position < batch[len(batch)-1].Position {
			t.Errorf("%d events up to position %d", len(batch), position)
			return all
		}
		all = append(all, batch...)
		if all[len(all)-1].Position >= until {
			return all
		}
	}
}

func subscribe(t *testing.T, s eventstore.Store, opts eventstore.SubscribeOptions) eventstore.Subscription {
	t.Helper()
	sub, err := s.Subscribe(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() })
	return sub
}

// Subscribers that start at different times while appends go on all see the same events.
func subscriptionMissesNothing(t *testing.T, f *Fixture) {
	fill(t, f.Store, 30)
	var writers, readers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 60 {
				stream := lifecycle(fmt.Sprint(w))
				if i%3 == 0 {
					stream = heartbeat(fmt.Sprint(w))
				}
				if _, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: stream, Events: events(1+i%4, "x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	type reading struct {
		sub  eventstore.Subscription
		seen []eventstore.RecordedEvent
	}
	started := make([]*reading, 6)
	for i := range started {
		started[i] = &reading{sub: subscribe(t, f.Store, eventstore.SubscribeOptions{})}
	}
	writers.Wait()
	end := appendTo(t, f.Store, lifecycle("end"), eventstore.Any(), events(1, "end")...)
	for _, r := range started {
		readers.Go(func() { r.seen = take(t, r.sub, end.Position) })
	}
	readers.Wait()
	want := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{})))
	for i, r := range started {
		if got := positions(r.seen); !slices.Equal(got, want) {
			t.Errorf("subscriber %d saw %d events, want %d", i, len(got), len(want))
		}
	}
}

func subscriptionFromTheMiddle(t *testing.T, f *Fixture) {
	fill(t, f.Store, 20)
	all := collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	middle := all[len(all)/2].Position
	sub := subscribe(t, f.Store, eventstore.SubscribeOptions{After: middle})
	fill(t, f.Store, 20)
	end := appendTo(t, f.Store, lifecycle("end"), eventstore.Any(), events(1, "end")...)
	got := positions(take(t, sub, end.Position))
	want := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: middle})))
	if !slices.Equal(got, want) {
		t.Errorf("saw %v, want %v", got, want)
	}
}

func filteredSubscription(t *testing.T, f *Fixture) {
	fill(t, f.Store, 10)
	filter := eventstore.Filter{StreamPrefixes: []string{string(lifecycle("b")), string(lifecycle("end"))}}
	sub := subscribe(t, f.Store, eventstore.SubscribeOptions{Filter: filter})
	fill(t, f.Store, 10)
	end := appendTo(t, f.Store, lifecycle("end"), eventstore.Any(), events(1, "end")...)
	got := positions(take(t, sub, end.Position))
	want := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: filter})))
	if !slices.Equal(got, want) {
		t.Errorf("saw %v, want %v", got, want)
	}
}

// A subscriber that reads nothing for long holds up no append, and later misses nothing.
func slowSubscriber(t *testing.T, f *Fixture) {
	sub := subscribe(t, f.Store, eventstore.SubscribeOptions{})
	first := appendTo(t, f.Store, lifecycle("a"), eventstore.Any(), events(1, "x")...)
	seen := take(t, sub, first.Position) // it is live now, and falls asleep
	for range 300 {
		appendTo(t, f.Store, lifecycle("a"), eventstore.Any(), events(5, "x")...)
	}
	end := appendTo(t, f.Store, lifecycle("end"), eventstore.Any(), events(1, "end")...)
	got := positions(append(seen, take(t, sub, end.Position)...))
	want := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{})))
	if !slices.Equal(got, want) {
		t.Errorf("saw %d events, want %d", len(got), len(want))
	}
}

func subscriptionCancelled(t *testing.T, f *Fixture) {
	sub := subscribe(t, f.Store, eventstore.SubscribeOptions{})
	cancelled, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() {
		_, _, err := sub.Next(cancelled)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Next gave %v", err)
	}
	// Only that wait was called off: the subscription itself goes on.
	r := appendTo(t, f.Store, lifecycle("a"), eventstore.Any(), events(1, "x")...)
	if seen := take(t, sub, r.Position); len(seen) != 1 {
		t.Errorf("saw %d events, want 1", len(seen))
	}
}

func subscriptionClosed(t *testing.T, f *Fixture) {
	for _, end := range []struct {
		how   string
		close func(eventstore.Subscription) error
	}{
		{"its own close", eventstore.Subscription.Close},
		{"the store's close", func(eventstore.Subscription) error { return f.Store.Close() }},
	} {
		sub := subscribe(t, f.Store, eventstore.SubscribeOptions{})
		ended := make(chan error)
		go func() {
			_, _, err := sub.Next(ctx)
			ended <- err
		}()
		if err := end.close(sub); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("after %s Next gave %v", end.how, err)
		}
	}
}
