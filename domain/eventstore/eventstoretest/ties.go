package eventstoretest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// canTie says whether the store can tie an append to another stream. One that cannot says so, and appends.
func canTie(t *testing.T, s eventstore.Store) bool {
	t.Helper()
	results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: lifecycle("a tie"), Other: eventstore.StreamExists(), Events: events(1, "x")})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Untied == (results[0].Err != nil) {
		t.Errorf("a tie that does not hold gave %+v", results[0])
	}
	return !results[0].Untied
}

func ties(t *testing.T, f *Fixture) {
	able := canTie(t, f.Store)
	for _, existing := range []int{0, 1, 3} {
		for _, other := range []eventstore.ExpectedRevision{
			eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(),
			eventstore.Exactly(0), eventstore.Exactly(2), eventstore.Exactly(7),
		} {
			for _, heartbeats := range []bool{false, true} {
				id := fmt.Sprintf("%d-%s-%t", existing, other, heartbeats)
				own, tied := lifecycle(id), heartbeat(id)
				if heartbeats {
					own, tied = tied, own
				}
				if existing > 0 {
					appendTo(t, f.Store, tied, eventstore.NoStream(), events(existing, "before")...)
				}
				first := appendTo(t, f.Store, own, eventstore.NoStream(), beat(1))
				request := eventstore.AppendRequest{Stream: own, Expected: eventstore.Exactly(0), Other: other, Events: events(2, "x")}
				if first.StreamNumber != 0 {
					request.Stream, request.StreamNumber = "", first.StreamNumber
				}
				results, err := f.Store.Append(ctx, nil, request)
				if err != nil {
					t.Fatal(err)
				}
				holds := !able || other.Holds(uint64(existing))
				if untied := !able && !other.IsAny(); results[0].Untied != untied {
					t.Errorf("%s: untied is %t", id, results[0].Untied)
				}
				var wrong *eventstore.WrongExpectedRevision
				if holds && results[0].Err != nil {
					t.Errorf("%s: %v", id, results[0].Err)
				}
				if !holds && (!errors.As(results[0].Err, &wrong) || wrong.Stream != tied || wrong.Expected != other || wrong.Events != uint64(existing)) {
					t.Errorf("%s gave %v, want a WrongExpectedRevision of %s", id, results[0].Err, tied)
				}
				want := 1
				if holds {
					want = 3
				}
				if read := collect(t, f.Store.ReadStream(ctx, own, eventstore.ReadOptions{})); len(read) != want {
					t.Errorf("%s left %d events, want %d", id, len(read), want)
				}
			}
		}
	}
	_, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: eventstore.RegistryStream, Other: eventstore.NoStream(), Events: events(1, "x")})
	if !errors.Is(err, eventstore.ErrNoOtherStream) {
		t.Errorf("a tie of a stream that has no other gave %v", err)
	}
}

func tiesWithinOneAppend(t *testing.T, f *Fixture) {
	if !canTie(t, f.Store) {
		t.Skip("this store cannot tie")
	}
	results, err := f.Store.Append(ctx, nil,
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.NoStream(), Other: eventstore.NoStream(), Events: events(1, "registered")},
		eventstore.AppendRequest{Stream: heartbeat("a"), Other: eventstore.Exactly(0), Events: []eventstore.EventData{beat(1)}},
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.Exactly(0), Other: eventstore.NoStream(), Events: events(1, "expired unheard")},
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.Exactly(0), Other: eventstore.Exactly(0), Events: events(1, "expired")},
		eventstore.AppendRequest{Stream: heartbeat("a"), Other: eventstore.Exactly(0), Events: []eventstore.EventData{beat(1)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, refused := range []bool{false, false, true, false, true} {
		if (results[i].Err != nil) != refused {
			t.Errorf("request %d gave %v", i, results[i].Err)
		}
	}
}

// tiedRaces has an end that was judged on the newest heartbeat race a heartbeat that was decided on the newest
// life. Each may be first; then the other must be refused.
func tiedRaces(t *testing.T, f *Fixture) {
	if !canTie(t, f.Store) {
		t.Skip("this store cannot tie")
	}
	const rounds, racers = 20, 3
	for round := range rounds {
		id := fmt.Sprint(round)
		appendTo(t, f.Store, lifecycle(id), eventstore.NoStream(), events(1, "registered")...)
		appendTo(t, f.Store, heartbeat(id), eventstore.NoStream(), beat(1))
		var group sync.WaitGroup
		var mu sync.Mutex
		ends, beats := 0, 0
		count := func(n *int, r eventstore.AppendRequest) {
			results, err := f.Store.Append(ctx, nil, r)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			} else if results[0].Err == nil {
				*n++
			}
		}
		for range racers {
			group.Go(func() {
				count(&ends, eventstore.AppendRequest{Stream: lifecycle(id), Expected: eventstore.Exactly(0), Other: eventstore.Exactly(0), Events: events(1, "expired")})
			})
			group.Go(func() {
				count(&beats, eventstore.AppendRequest{Stream: heartbeat(id), Other: eventstore.Exactly(0), Events: []eventstore.EventData{beat(1)}})
			})
		}
		group.Wait()
		if ends > 0 == (beats > 0) || ends > 1 {
			t.Fatalf("round %d: %d ends and %d heartbeats were accepted", round, ends, beats)
		}
	}
}

func tiedRetries(t *testing.T, f *Fixture) {
	if !canTie(t, f.Store) {
		t.Skip("this store cannot tie")
	}
	appendTo(t, f.Store, lifecycle("a"), eventstore.NoStream(), events(1, "registered")...)
	request := eventstore.AppendRequest{
		Stream: lifecycle("a"), Expected: eventstore.Exactly(0), Other: eventstore.NoStream(), Events: withIDs(events(1, "expired")),
	}
	first, err := f.Store.Append(ctx, nil, request)
	if err != nil || first[0].Err != nil {
		t.Fatal(err, first)
	}
	appendTo(t, f.Store, heartbeat("a"), eventstore.NoStream(), beat(1)) // the tie would not hold any more
	again, err := f.Store.Append(ctx, nil, request)
	if err != nil || again[0] != first[0] {
		t.Errorf("a retry gave %+v, %v, and the first %+v", again, err, first)
	}
}

// together binds requests to each other. A store that cannot bind them carries out each by itself.
func together(t *testing.T, f *Fixture) {
	requests := func(label string, expected ...eventstore.ExpectedRevision) (requests []eventstore.AppendRequest) {
		for i, e := range expected {
			requests = append(requests, eventstore.AppendRequest{
				Stream: lifecycle(fmt.Sprint("bound ", i)), Expected: e, Together: i == 0, Events: events(1, label),
			})
		}
		return requests
	}
	results, err := f.Store.Append(ctx, nil, requests("first", eventstore.NoStream(), eventstore.NoStream(), eventstore.Any())...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Revision != 0 {
			t.Errorf("request %d of those that hold gave %+v", i, r)
		}
	}
	results, err = f.Store.Append(ctx, nil, requests("second", eventstore.Exactly(0), eventstore.NoStream(), eventstore.Any())...)
	if err != nil {
		t.Fatal(err)
	}
	if conflict := (*eventstore.WrongExpectedRevision)(nil); !errors.As(results[1].Err, &conflict) {
		t.Errorf("the request that does not hold gave %+v", results[1])
	}
	bound := errors.Is(results[0].Err, eventstore.ErrNotTogether)
	for _, i := range []int{0, 2} {
		if errors.Is(results[i].Err, eventstore.ErrNotTogether) != bound || !bound && results[i].Err != nil {
			t.Errorf("request %d, bound to one that does not hold, gave %+v", i, results[i])
		}
		n := 0
		for _, err := range f.Store.ReadStream(ctx, lifecycle(fmt.Sprint("bound ", i)), eventstore.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if want := map[bool]int{true: 1, false: 2}[bound]; n != want {
			t.Errorf("stream %d has %d events, not %d", i, n, want)
		}
	}
}
