package pebblestore_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// A stream with events is never taken for a new one: neither one from before the opening, nor one that begins while the
// filters are filled, nor one that begins later.
func TestStreamsWithEventsAreNeverTakenForNew(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, "data", pebblestore.Options{FS: fs})
	const each = 300
	begin := func(from int) {
		for i := from; i < from+each; i++ {
			appendOne(t, s, stream(i))
			appendOne(t, s, heartbeats(i))
		}
	}
	begin(0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, "data", pebblestore.Options{FS: fs})
	var filling sync.WaitGroup
	filling.Go(func() {
		if err := s.FillKnown(); err != nil {
			t.Error(err)
		}
	})
	begin(each)
	filling.Wait()
	begin(2 * each)
	forgetIdle(t, s)
	var again []eventstore.AppendRequest
	for i := range 3 * each {
		for _, name := range []eventstore.StreamName{stream(i), heartbeats(i)} {
			if s.Lacks(name) {
				t.Errorf("%s has events, and the store says that it has none", name)
			}
			again = append(again, eventstore.AppendRequest{Stream: name, Expected: eventstore.NoStream(), Events: []eventstore.EventData{beat}})
		}
	}
	results, err := s.Append(ctx, nil, again...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if _, ok := errors.AsType[*eventstore.WrongExpectedRevision](r.Err); !ok {
			t.Fatalf("%s was begun anew: %+v", again[i].Stream, r)
		}
	}
	lacking := 0
	for i := 3 * each; i < 4*each; i++ {
		if s.Lacks(stream(i)) {
			lacking++
		}
	}
	if lacking < each*9/10 {
		t.Errorf("the store knows of %d of %d new streams that they are new", lacking, each)
	}
}

// Of many callers who begin the same streams at once one succeeds, also while heads are forgotten.
func TestAStreamThatManyBeginAtOnceBeginsOnce(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	if err := s.FillKnown(); err != nil {
		t.Fatal(err)
	}
	const streams, callers = 200, 4
	var begun [streams]atomic.Int32
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			for i := range streams {
				results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(i), Expected: eventstore.NoStream(), Events: []eventstore.EventData{beat}})
				if err != nil {
					t.Error(err)
					return
				}
				if results[0].Err == nil {
					begun[i].Add(1)
				}
			}
		})
	}
	calls.Go(func() {
		for range 20 {
			if err := s.ForgetIdle(); err != nil {
				t.Error(err)
			}
		}
	})
	calls.Wait()
	for i := range begun {
		if n := begun[i].Load(); n != 1 {
			t.Errorf("%s was begun %d times", stream(i), n)
		}
	}
}

// A stream keeps the head that an append made which was refused: there are no two heads, of which one would not know of the events.
func TestAStreamThatWasAskedForBeforeItBeganHasOneHead(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	if err := s.FillKnown(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		for n, expected := range []eventstore.ExpectedRevision{eventstore.Exactly(0), eventstore.NoStream(), eventstore.NoStream(), eventstore.Exactly(0), eventstore.NoStream()} {
			results, err := s.Append(ctx, nil, eventstore.AppendRequest{Stream: stream(i), Expected: expected, Events: []eventstore.EventData{beat}})
			if err != nil {
				t.Fatal(err)
			}
			if taken := n == 1 || n == 3; (results[0].Err == nil) != taken {
				t.Fatalf("append %d, which expects %s, came to %+v", n, expected, results[0])
			}
		}
	}
}

func TestManyNewStreamsHaveTheFiltersFilled(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	var requests []eventstore.AppendRequest
	for i := range 1100 {
		requests = append(requests, eventstore.AppendRequest{Stream: eventstore.StreamName(fmt.Sprint("webhook-", i)), Events: []eventstore.EventData{beat}})
	}
	if s.Lacks("webhook-none") {
		t.Error("a store that has not read its streams' names knows which there are")
	}
	if _, err := s.Append(ctx, nil, requests...); err != nil {
		t.Fatal(err)
	}
	s.WaitKnown()
	if !s.Lacks("webhook-none") {
		t.Error("the store does not know of a new stream that it is new")
	}
	for _, r := range requests {
		if s.Lacks(r.Stream) {
			t.Errorf("%s has events, and the store says that it has none", r.Stream)
		}
	}
}
