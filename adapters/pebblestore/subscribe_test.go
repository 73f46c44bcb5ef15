package pebblestore_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// The memory of heartbeats is used again, but not while a subscriber holds them.
func TestASubscribersEventsStayUntilItAsksForMore(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	const commits = 60
	var readers sync.WaitGroup
	for range 3 {
		sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			defer sub.Close()
			for next := eventstore.Position(1); next <= commits*manyStreams; {
				events, position, err := sub.Next(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				copied := slices.Clone(events)
				for range 3 { // commits pass meanwhile
					if _, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: heartbeats(0), Events: []eventstore.EventData{beat}}); err != nil {
						t.Error(err)
						return
					}
				}
				for i := range events {
					if events[i].Position != copied[i].Position || events[i].Stream != copied[i].Stream {
						t.Errorf("position %d of %s became %d of %s", copied[i].Position, copied[i].Stream, events[i].Position, events[i].Stream)
						return
					}
				}
				if events[0].Position != next {
					t.Errorf("position %d comes where %d should", events[0].Position, next)
					return
				}
				next = position + 1
			}
		})
	}
	for range commits {
		beatAll(t, s)
	}
	readers.Wait()
}

// A subscriber that does without the positions of other events is not woken for these, and misses none of its own.
func TestASubscriberIsNotWokenForWhatItsFilterDoesNotPick(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	own, other := stream(1), stream(2)
	filter := eventstore.Filter{StreamPrefixes: []string{string(own)}, Exact: true}
	add := func(streams ...eventstore.StreamName) {
		t.Helper()
		var requests []eventstore.AppendRequest
		for _, name := range streams {
			requests = append(requests, eventstore.AppendRequest{Stream: name, Events: []eventstore.EventData{beat}})
		}
		if _, err := s.Append(ctx, nil, requests...); err != nil {
			t.Fatal(err)
		}
	}
	for _, only := range []bool{true, false} {
		first := s.Durable()
		add(other, own)
		sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{After: first, Filter: filter, OnlyPicked: only})
		if err != nil {
			t.Fatal(err)
		}
		next := func(want ...eventstore.Position) {
			t.Helper()
			var got []eventstore.Position
			events, _, err := sub.Next(ctx)
			for i := range events {
				got = append(got, events[i].Position-first)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("only picked %t: it was told of %v (%v), not of %v", only, got, err, want)
			}
		}
		next(2)
		for range 50 {
			add(other)
		}
		waiting := 50
		if only {
			waiting = 0
		}
		if n := pebblestore.Waiting(sub); n != waiting {
			t.Errorf("only picked %t: %d commits wait for it, not %d", only, n, waiting)
		}
		add(other, own, other)
		add(own)
		next(54)
		next(56)
		_ = sub.Close()
	}
}

// Where the store is closed, the position of a subscription is behind what its filter did not pick: the next one need not read that.
func TestASubscriptionEndsBehindWhatItsFilterDidNotPick(t *testing.T) {
	s, err := pebblestore.Open("data", pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	own := appendOne(t, s, stream(1))
	sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{Filter: eventstore.Filter{StreamPrefixes: []string{string(stream(1))}, Exact: true}, OnlyPicked: true})
	if err != nil {
		t.Fatal(err)
	}
	if events, _, err := sub.Next(ctx); err != nil || len(events) != 1 || events[0].Position != own {
		t.Fatalf("it was told of %v, %v", events, err)
	}
	for range 100 {
		appendOne(t, s, stream(2))
	}
	newest := appendOne(t, s, heartbeats(2))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, at, err := sub.Next(ctx); !errors.Is(err, eventstore.ErrClosed) || at != newest {
		t.Errorf("it ended at %d (%v), not at %d", at, err, newest)
	}
}

// A subscriber that gathers gets what was committed since its last look at once, in order, and nothing that its filter does not pick.
func TestASubscriberGathersCommits(t *testing.T) {
	for name, filter := range map[string]eventstore.Filter{"all": {}, "some": {StreamPrefixes: []string{string(stream(1)), string(stream(3))}}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
			sub, err := s.Subscribe(ctx, eventstore.SubscribeOptions{Filter: filter, Gather: true})
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			var want, got []string
			commit := func(n int) {
				t.Helper()
				for range n {
					var requests []eventstore.AppendRequest
					for i := range 5 {
						requests = append(requests, eventstore.AppendRequest{Stream: stream(i), Events: []eventstore.EventData{beat}})
					}
					appended, err := s.Append(ctx, nil, requests...)
					if err != nil {
						t.Fatal(err)
					}
					for i, a := range appended {
						if filter.Match(stream(i), beat.Type) {
							want = append(want, fmt.Sprint(a.Position, stream(i)))
						}
					}
				}
			}
			next := func() {
				t.Helper()
				events, _, err := sub.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					got = append(got, fmt.Sprint(e.Position, e.Stream))
				}
			}
			commit(1)
			next()                                         // it is live
			for _, commits := range []int{1, 7, 60, 300} { // 300 are more than the buffer has
				commit(commits)
				looks := 0
				for ; len(got) < len(want); looks++ {
					next()
				}
				if commits <= 60 && looks != 1 {
					t.Errorf("%d commits came in %d parts", commits, looks)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %d events %.300q, want %d %.300q", len(got), got, len(want), want)
			}
		})
	}
}
