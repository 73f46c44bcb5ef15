package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// shared makes a store that holds other events look empty: streams get names of their own, and what was there
// when the test began is left out. Nobody else may write to the store during the test.
type shared struct {
	eventstore.Store
	began eventstore.Position
	mark  string // stands in every stream's name
}

func newShared(t *testing.T, s eventstore.Store) *shared {
	t.Helper()
	head, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &shared{Store: s, began: head, mark: fmt.Sprintf("t%x-", uuid.New().ID())}
}

// name marks a stream's name behind its kind, so that prefixes of kinds pick it as before.
func (s *shared) name(n eventstore.StreamName) eventstore.StreamName {
	for _, kind := range []string{eventstore.LifecyclePrefix, eventstore.HeartbeatPrefix} {
		if rest, ok := strings.CutPrefix(string(n), kind); ok {
			return eventstore.StreamName(kind + s.mark + rest)
		}
	}
	if n == "" { // a stream number stands for the name
		return n
	}
	return n + eventstore.StreamName("-"+s.mark)
}

func (s *shared) unmark(n eventstore.StreamName) eventstore.StreamName {
	if bare, ok := strings.CutSuffix(string(n), "-"+s.mark); ok {
		return eventstore.StreamName(bare)
	}
	return eventstore.StreamName(strings.Replace(string(n), "-"+s.mark, "-", 1))
}

func (s *shared) filter(f eventstore.Filter) eventstore.Filter {
	f.StreamPrefixes = slices.Clone(f.StreamPrefixes)
	for i, prefix := range f.StreamPrefixes {
		kind := prefix == eventstore.LifecyclePrefix || prefix == eventstore.HeartbeatPrefix
		if !kind && (f.Exact || strings.Contains(prefix, "-")) {
			f.StreamPrefixes[i] = string(s.name(eventstore.StreamName(prefix)))
		}
	}
	return f
}

func (s *shared) Append(ctx context.Context, into []eventstore.AppendResult, requests ...eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	requests = slices.Clone(requests)
	for i := range requests {
		requests[i].Stream = s.name(requests[i].Stream)
	}
	results, err := s.Store.Append(ctx, into, requests...)
	for i := range results {
		var wrong *eventstore.WrongExpectedRevision
		if errors.As(results[i].Err, &wrong) {
			wrong.Stream = s.unmark(wrong.Stream)
		}
	}
	return results, err
}

func (s *shared) unmarked(seq iter.Seq2[eventstore.RecordedEvent, error]) iter.Seq2[eventstore.RecordedEvent, error] {
	return func(yield func(eventstore.RecordedEvent, error) bool) {
		for e, err := range seq {
			e.Stream = s.unmark(e.Stream)
			if !yield(e, err) {
				return
			}
		}
	}
}

func (s *shared) ReadStream(ctx context.Context, stream eventstore.StreamName, opts eventstore.ReadOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	return s.unmarked(s.Store.ReadStream(ctx, s.name(stream), opts))
}

func (s *shared) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	opts.Filter = s.filter(opts.Filter)
	if opts.Backwards {
		opts.To = max(opts.To, s.began+1)
	} else {
		opts.After = max(opts.After, s.began)
	}
	return s.unmarked(s.Store.ReadAll(ctx, opts))
}

func (s *shared) Subscribe(ctx context.Context, opts eventstore.SubscribeOptions) (eventstore.Subscription, error) {
	opts.Filter, opts.After = s.filter(opts.Filter), max(opts.After, s.began)
	sub, err := s.Store.Subscribe(ctx, opts)
	if err != nil {
		return nil, err
	}
	return sharedSubscription{sub, s}, nil
}

type sharedSubscription struct {
	eventstore.Subscription
	s *shared
}

func (s sharedSubscription) Next(ctx context.Context) ([]eventstore.RecordedEvent, eventstore.Position, error) {
	events, position, err := s.Subscription.Next(ctx)
	for i := range events {
		events[i].Stream = s.s.unmark(events[i].Stream)
	}
	return events, position, err
}

func (s *shared) Head(ctx context.Context) (eventstore.Position, error) {
	head, err := s.Store.Head(ctx)
	if head <= s.began {
		head = 0 // before the first event of the test
	}
	return head, err
}
