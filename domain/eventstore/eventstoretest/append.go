package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func revisionsCount(t *testing.T, f *Fixture) {
	for _, stream := range []eventstore.StreamName{lifecycle("a"), heartbeat("a"), eventstore.RegistryStream} {
		if r := appendTo(t, f.Store, stream, eventstore.NoStream(), events(2, "x")...); r.Revision != 1 {
			t.Errorf("%s: two events end at revision %d, want 1", stream, r.Revision)
		}
		if r := appendTo(t, f.Store, stream, eventstore.Exactly(1), events(3, "y")...); r.Revision != 4 {
			t.Errorf("%s: three more end at revision %d, want 4", stream, r.Revision)
		}
		read := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if want := []eventstore.Revision{0, 1, 2, 3, 4}; !slices.Equal(revisions(read), want) {
			t.Errorf("%s has revisions %v, want %v", stream, revisions(read), want)
		}
	}
}

func positionsGrow(t *testing.T, f *Fixture) {
	if head, err := f.Store.Head(ctx); head != 0 || err != nil {
		t.Errorf("an empty store's head is %d, %v", head, err)
	}
	var last eventstore.Position
	for i := range 20 {
		stream := lifecycle(fmt.Sprint(i % 3))
		if i%2 == 1 {
			stream = heartbeat(fmt.Sprint(i % 3))
		}
		r := appendTo(t, f.Store, stream, eventstore.Any(), events(2, "x")...)
		if r.Position <= last {
			t.Fatalf("position %d came after %d", r.Position, last)
		}
		last = r.Position
	}
	if head, err := f.Store.Head(ctx); head < last || err != nil {
		t.Errorf("head is %d, %v after position %d was acknowledged", head, err, last)
	}
}

func preconditions(t *testing.T, f *Fixture) {
	for _, existing := range []int{0, 1, 3} {
		for _, expected := range []eventstore.ExpectedRevision{
			eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(),
			eventstore.Exactly(0), eventstore.Exactly(2), eventstore.Exactly(7),
		} {
			stream := lifecycle(fmt.Sprintf("%d-%s", existing, uuid.New()))
			if existing > 0 {
				appendTo(t, f.Store, stream, eventstore.NoStream(), events(existing, "before")...)
			}
			results, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: stream, Expected: expected, Events: events(2, "x")})
			if err != nil {
				t.Fatal(err)
			}
			want := existing
			var wrong *eventstore.WrongExpectedRevision
			if expected.Holds(uint64(existing)) {
				want += 2
				if results[0].Err != nil {
					t.Errorf("%s on %d events: %v", expected, existing, results[0].Err)
				}
			} else if !errors.As(results[0].Err, &wrong) {
				t.Errorf("%s on %d events gave %v, want a WrongExpectedRevision", expected, existing, results[0].Err)
			}
			if read := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{})); len(read) != want {
				t.Errorf("%s on %d events left %d, want %d", expected, existing, len(read), want)
			}
		}
	}
}

func failedRequestHarmsNoOther(t *testing.T, f *Fixture) {
	results, err := f.Store.Append(ctx, nil,
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.NoStream(), Events: events(1, "a")},
		eventstore.AppendRequest{Stream: lifecycle("b"), Expected: eventstore.Exactly(4), Events: events(3, "b")},
		eventstore.AppendRequest{Stream: lifecycle("c"), Expected: eventstore.Any(), Events: events(2, "c")})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err != nil || results[1].Err == nil || results[2].Err != nil {
		t.Fatalf("results are %v", results)
	}
	for id, want := range map[string]int{"a": 1, "b": 0, "c": 2} {
		if read := collect(t, f.Store.ReadStream(ctx, lifecycle(id), eventstore.ReadOptions{})); len(read) != want {
			t.Errorf("stream %s has %d events, want %d", id, len(read), want)
		}
	}
}

func resultsAreAppended(t *testing.T, f *Fixture) {
	buffer := make([]eventstore.AppendResult, 1, 4)
	buffer[0].Revision = 99
	results, err := f.Store.Append(ctx, buffer,
		eventstore.AppendRequest{Stream: lifecycle("a"), Events: events(1, "a")},
		eventstore.AppendRequest{Stream: lifecycle("a"), Events: events(2, "b")})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 || results[0].Revision != 99 || results[1].Revision != 0 || results[2].Revision != 2 {
		t.Errorf("appended to a result of 99, the results are %v", results)
	}
	for i := range results[1:] { // what was there before counts for nothing
		results[i+1].Err = eventstore.ErrTooLarge
	}
	if results, err = f.Store.Append(ctx, results[:1], eventstore.AppendRequest{Stream: lifecycle("a"), Events: events(1, "c")}); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[1].Err != nil || results[1].Revision != 3 {
		t.Errorf("in a used buffer the results are %v", results)
	}
}

func requestsSeeEachOther(t *testing.T, f *Fixture) {
	results, err := f.Store.Append(ctx, nil,
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.NoStream(), Events: events(1, "1")},
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.NoStream(), Events: events(1, "2")},
		eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.Exactly(0), Events: events(1, "3")})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err != nil || results[1].Err == nil || results[2].Err != nil {
		t.Fatalf("results are %v", results)
	}
}

func oneOfManyWins(t *testing.T, f *Fixture) {
	const racers, rounds = 16, 5
	for round := range rounds {
		expected := eventstore.NoStream()
		if round > 0 {
			expected = eventstore.Exactly(eventstore.Revision(round - 1))
		}
		var won sync.Map
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				results, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: lifecycle("a"), Expected: expected, Events: events(1, "x")})
				if err != nil {
					t.Error(err)
				} else if results[0].Err == nil {
					won.Store(i, true)
				}
			})
		}
		wg.Wait()
		winners := 0
		won.Range(func(any, any) bool { winners++; return true })
		if winners != 1 {
			t.Fatalf("%d of %d appends with %s won", winners, racers, expected)
		}
	}
}

func retries(t *testing.T, f *Fixture) {
	for name, expected := range map[string][2]eventstore.ExpectedRevision{
		"any":           {eventstore.Any(), eventstore.Any()},
		"no stream":     {eventstore.NoStream(), eventstore.Exactly(1)},
		"stream exists": {eventstore.Any(), eventstore.StreamExists()},
	} {
		for _, stream := range []eventstore.StreamName{lifecycle(name), heartbeat(name)} {
			first, second := withIDs(events(2, "1")), withIDs(events(3, "2"))
			appendTo(t, f.Store, stream, expected[0], first...)
			if name == "no stream" {
				appendTo(t, f.Store, stream, expected[0], first...)
			}
			once := appendTo(t, f.Store, stream, expected[1], second...)
			again := appendTo(t, f.Store, stream, expected[1], second...)
			if once != again {
				t.Errorf("%s: the retry was answered %+v, the first time %+v", stream, again, once)
			}
			if read := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{})); len(read) != 5 {
				t.Errorf("%s has %d events after a retry, want 5", stream, len(read))
			}
		}
	}
	other := withIDs(events(1, "3"))
	results, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: lifecycle("no stream"), Expected: eventstore.NoStream(), Events: other})
	if err != nil || results[0].Err == nil {
		t.Errorf("other ids at the same place gave %v, %v", results, err)
	}
}

func retryWithinOneAppend(t *testing.T, f *Fixture) {
	request := eventstore.AppendRequest{Stream: lifecycle("a"), Expected: eventstore.NoStream(), Events: withIDs(events(2, "1"))}
	results, err := f.Store.Append(ctx, nil, request, request)
	if err != nil || results[0] != results[1] || results[1].Err != nil {
		t.Fatalf("results are %v, %v", results, err)
	}
	if read := collect(t, f.Store.ReadStream(ctx, lifecycle("a"), eventstore.ReadOptions{})); len(read) != 2 {
		t.Errorf("the stream has %d events, want 2", len(read))
	}
}

func roundTrip(t *testing.T, f *Fixture) {
	before := time.Now().Add(-time.Minute)
	given := []eventstore.EventData{
		{ID: uuid.New(), Type: "Something", Data: []byte(`{"a":"ü"}`), Metadata: []byte(`{"actor":"ann"}`)},
		{Type: "HeartbeatReceived", Data: []byte(`{"epoch":7}`), Metadata: []byte(`{}`)},
		{Type: "HeartbeatReceived", Data: []byte(`{"epoch":07}`), Metadata: []byte(`{"schema":1}`)},
		{Type: "HeartbeatReceived", Data: []byte(`{"epoch":18446744073709551615}`), Metadata: []byte(`{"schema":1}`)},
		{Type: "HeartbeatReceived", Data: []byte(`{"epoch":1,"more":true}`), Metadata: []byte(`{"schema":2}`)},
		{Type: "LeaseExpired", Data: []byte(`{}`), Metadata: []byte(`{"schema":1}`)},
	}
	for _, stream := range []eventstore.StreamName{lifecycle("a"), heartbeat("a"), eventstore.RegistryStream} {
		result := appendTo(t, f.Store, stream, eventstore.Any(), given...)
		read := collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if len(read) != len(given) {
			t.Fatalf("%s has %d events, want %d", stream, len(read), len(given))
		}
		for i, e := range read {
			if e.Stream != stream || e.Type != given[i].Type || string(e.Data) != string(given[i].Data) || string(e.Metadata) != string(given[i].Metadata) {
				t.Errorf("%s %d is %s %s %s, want %s %s %s", stream, i, e.Type, e.Data, e.Metadata, given[i].Type, given[i].Data, given[i].Metadata)
			}
			if given[i].ID != uuid.Nil && e.ID != given[i].ID {
				t.Errorf("%s %d has id %s, want %s", stream, i, e.ID, given[i].ID)
			}
			if e.RecordedAt.Before(before) || e.RecordedAt.Location() != time.UTC {
				t.Errorf("%s %d was recorded at %s", stream, i, e.RecordedAt)
			}
		}
		if last := read[len(read)-1]; last.Position != result.Position || last.Revision != result.Revision {
			t.Errorf("%s ends at %d/%d, but the append said %d/%d", stream, last.Position, last.Revision, result.Position, result.Revision)
		}
	}
}

func idsDiffer(t *testing.T, f *Fixture) {
	fill(t, f.Store, 10)
	seen := map[uuid.UUID]bool{}
	for _, e := range collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{})) {
		if seen[e.ID] || e.ID == uuid.Nil || e.ID.Version() != 7 || e.ID.Variant() != uuid.RFC4122 {
			t.Fatalf("id %s at position %d", e.ID, e.Position)
		}
		seen[e.ID] = true
	}
	for _, stream := range []eventstore.StreamName{lifecycle("a"), heartbeat("b")} {
		for _, e := range collect(t, f.Store.ReadStream(ctx, stream, eventstore.ReadOptions{})) {
			if !seen[e.ID] {
				t.Errorf("%s %d has another id when its stream is read", stream, e.Revision)
			}
		}
	}
}

func emptyAppend(t *testing.T, f *Fixture) {
	if _, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: lifecycle("a")}); !errors.Is(err, eventstore.ErrNoEvents) {
		t.Errorf("an append without events gave %v", err)
	}
	if results, err := f.Store.Append(ctx, nil); err != nil || len(results) != 0 {
		t.Errorf("an append without requests gave %v, %v", results, err)
	}
}

func streamNumbers(t *testing.T, f *Fixture) {
	for i, name := range []string{"a", "b"} { // the first heartbeats may be what makes the numbers
		stream := heartbeat(name)
		first := appendTo(t, f.Store, stream, eventstore.NoStream(), beat(1))
		if first.StreamNumber == 0 {
			continue // the store gives none
		}
		results, err := f.Store.Append(ctx, nil,
			eventstore.AppendRequest{StreamNumber: first.StreamNumber, Events: []eventstore.EventData{beat(2)}},
			eventstore.AppendRequest{StreamNumber: first.StreamNumber, Expected: eventstore.NoStream(), Events: []eventstore.EventData{beat(3)}},
			eventstore.AppendRequest{Stream: stream, Events: []eventstore.EventData{beat(4)}},
		)
		if err != nil {
			t.Fatal(err)
		}
		var wrong *eventstore.WrongExpectedRevision
		if results[0].Err != nil || results[0].Revision != 1 || results[2].Revision != 2 || results[2].StreamNumber != first.StreamNumber {
			t.Errorf("appends to %s gave %+v", stream, results)
		}
		if !errors.As(results[1].Err, &wrong) || wrong.Stream != stream {
			t.Errorf("a failed precondition gave %v", results[1].Err)
		}
		read := collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: eventstore.Filter{StreamPrefixes: []string{string(stream)}}}))
		if len(read) != 3 || read[1].Stream != stream || string(read[1].Data) != string(beat(2).Data) {
			t.Errorf("stream %d holds %+v", i, read)
		}
	}
	head, err := f.Store.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Store.Append(ctx, nil,
		eventstore.AppendRequest{Stream: lifecycle("c"), Events: events(1, "x")},
		eventstore.AppendRequest{StreamNumber: 1 << 30, Events: []eventstore.EventData{beat(1)}})
	if !errors.Is(err, eventstore.ErrNoStreamNumber) {
		t.Errorf("a number that was never given gave %v", err)
	}
	if after, err := f.Store.Head(ctx); err != nil || after != head {
		t.Errorf("it wrote events: %d, then %d, %v", head, after, err)
	}
}

func appendCancelled(t *testing.T, f *Fixture) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Store.Append(ended, nil, eventstore.AppendRequest{Stream: lifecycle("a"), Events: events(1, "x")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("gave %v", err)
	}
	appendTo(t, f.Store, lifecycle("b"), eventstore.NoStream(), events(1, "x")...) // goes on
}

func closedStore(t *testing.T, f *Fixture) {
	appendTo(t, f.Store, lifecycle("a"), eventstore.NoStream(), events(1, "x")...)
	if err := f.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Store.Append(ctx, nil, eventstore.AppendRequest{Stream: lifecycle("a"), Events: events(1, "x")}); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("an append gave %v", err)
	}
	for _, err := range f.Store.ReadStream(ctx, lifecycle("a"), eventstore.ReadOptions{}) {
		if !errors.Is(err, eventstore.ErrClosed) {
			t.Errorf("a read gave %v", err)
		}
	}
}

func survivesReopen(t *testing.T, f *Fixture) {
	if f.Reopen == nil {
		t.Skip("this store has nothing to reopen")
	}
	fill(t, f.Store, 50)
	before := collect(t, f.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	s := f.Reopen()
	after := collect(t, s.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if len(after) != len(before) {
		t.Fatalf("%d events after a reopen, %d before", len(after), len(before))
	}
	for i := range after {
		if after[i].ID != before[i].ID || after[i].Position != before[i].Position || string(after[i].Data) != string(before[i].Data) {
			t.Fatalf("event %d is %+v after a reopen, %+v before", i, after[i], before[i])
		}
	}
	for _, stream := range []eventstore.StreamName{lifecycle("a"), heartbeat("a")} {
		read := collect(t, s.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		next := eventstore.Exactly(read[len(read)-1].Revision)
		if r := appendTo(t, s, stream, next, events(1, "x")...); r.Position <= before[len(before)-1].Position {
			t.Errorf("%s goes on at position %d, not after %d", stream, r.Position, before[len(before)-1].Position)
		}
	}
}
