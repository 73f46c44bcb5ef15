package eventstoretest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func readStream(t *testing.T, f *Fixture) {
	fill(t, f.Store, 300) // more heartbeats than a store is likely to keep together
	for _, stream := range []eventstore.StreamName{lifecycle("b"), heartbeat("b")} {
		all := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		n := len(all)
		for _, from := range []int{0, 1, n / 2, n - 1, n, n + 5} {
			for _, limit := range []int{0, 1, 7} {
				want := revisions(all[min(from, n):])
				if limit > 0 {
					want = want[:min(limit, len(want))]
				}
				got := revisions(collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{From: eventstore.Revision(from), Limit: limit})))
				if !slices.Equal(got, want) {
					t.Fatalf("%s from %d, limit %d: %v, want %v", stream, from, limit, got, want)
				}
				want = revisions(all[:min(from+1, n)])
				slices.Reverse(want)
				if limit > 0 {
					want = want[:min(limit, len(want))]
				}
				got = revisions(collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{From: eventstore.Revision(from), Backwards: true, Limit: limit})))
				if !slices.Equal(got, want) {
					t.Fatalf("%s backwards from %d, limit %d: %v, want %v", stream, from, limit, got, want)
				}
			}
		}
		newest := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{From: eventstore.FromEnd, Backwards: true, Limit: 1}))
		if len(newest) != 1 || newest[0].Position != all[n-1].Position {
			t.Errorf("%s: the newest is %v, want position %d", stream, positions(newest), all[n-1].Position)
		}
	}
}

func readAll(t *testing.T, f *Fixture) {
	fill(t, f.Store, 40)
	all := collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if len(all) != 40*6+60*3 {
		t.Fatalf("read %d events, want %d", len(all), 40*6+60*3)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Position <= all[i-1].Position || all[i].RecordedAt.Before(all[i-1].RecordedAt) {
			t.Fatalf("event %d at position %d, %s came after %d, %s", i, all[i].Position, all[i].RecordedAt, all[i-1].Position, all[i-1].RecordedAt)
		}
	}
	for _, only := range []eventstore.Filter{{}, {StreamPrefixes: []string{eventstore.LifecyclePrefix}}, {StreamPrefixes: []string{eventstore.HeartbeatPrefix}}} {
		picked := slices.DeleteFunc(slices.Clone(all), func(e eventstore.RecordedEvent) bool { return !only.Match(e.Stream, e.Type) })
		for i := 0; i < len(picked); i += 1 + len(picked)/12 {
			at := picked[i].Position
			want := positions(picked[i+1:])
			if got := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: at, Filter: only}))); !slices.Equal(got, want) {
				t.Fatalf("after %d: %v, want %v", at, got, want)
			}
			got := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{To: at, Filter: only, Limit: 5})))
			if want = positions(picked[:min(5, i+1)]); !slices.Equal(got, want) {
				t.Fatalf("to %d, limit 5: %v, want %v", at, got, want)
			}
			want = positions(picked[:i])
			slices.Reverse(want)
			if got := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: at, Backwards: true, Filter: only}))); !slices.Equal(got, want) {
				t.Fatalf("before %d: %v, want %v", at, got, want)
			}
			want = positions(picked[i:])
			slices.Reverse(want)
			if got := positions(collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{To: at, Backwards: true, Filter: only}))); !slices.Equal(got, want) {
				t.Fatalf("from the end down to %d: %v, want %v", at, got, want)
			}
		}
	}
}

func filters(t *testing.T, f *Fixture) {
	fill(t, f.Store, 3)
	appendTo(t, f.Store, eventstore.RegistryStream, eventstore.Any(), eventstore.EventData{Type: domain.TypeSelfPreservationEnded, Data: []byte(`{}`), Metadata: []byte(`{}`)})
	for _, c := range []struct {
		filter eventstore.Filter
		want   int
	}{
		{eventstore.Filter{}, 3*6 + 4*3 + 1},
		{eventstore.Filter{StreamPrefixes: []string{eventstore.HeartbeatPrefix}}, 18},
		{eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}}, 12},
		{eventstore.Filter{StreamPrefixes: []string{string(lifecycle("a")), string(heartbeat("b"))}}, 4 + 6},
		{eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix, "registry"}}, 13},
		{eventstore.Filter{Types: []string{domain.TypeSelfPreservationEnded}}, 1},
		{eventstore.Filter{Types: []string{domain.TypeHeartbeatReceived}}, 18},
		{eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix}, Types: []string{domain.TypeHeartbeatReceived}}, 0},
		{eventstore.Filter{StreamPrefixes: []string{"elsewhere"}}, 0},
		{eventstore.Filter{StreamPrefixes: []string{eventstore.LifecyclePrefix, "registry"}, Exact: true}, 1},
		{eventstore.Filter{StreamPrefixes: []string{string(lifecycle("a")), string(heartbeat("b"))}, Exact: true}, 4 + 6},
	} {
		if read := collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: c.filter})); len(read) != c.want {
			t.Errorf("%+v picked %d events, want %d", c.filter, len(read), c.want)
		}
	}
}

func unknownStream(t *testing.T, f *Fixture) {
	fill(t, f.Store, 1)
	for _, stream := range []eventstore.StreamName{lifecycle("aa"), heartbeat("aa"), lifecycle(""), "elsewhere"} {
		for _, backwards := range []bool{false, true} {
			if read := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{Backwards: backwards, From: 0})); len(read) != 0 {
				t.Errorf("%s has %d events", stream, len(read))
			}
		}
	}
}

func readCancelled(t *testing.T, f *Fixture) {
	fill(t, f.Store, 20)
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	n := 0
	for _, err := range f.Store.ReadAll(cancelled, eventstore.ReadAllOptions{}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the read ended with %v", err)
			}
			return
		}
		if n++; n == 3 {
			cancel()
		}
	}
	t.Error("the read went on after its context had ended")
}
