package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func forgetIdle(t testing.TB, s *pebblestore.Store) {
	t.Helper()
	if err := s.ForgetIdle(); err != nil {
		t.Fatal(err)
	}
}

func TestHeadsOfStreamsThatAreNotUsedAreForgotten(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	given := beatAll(t, s)
	for i := range 100 {
		appendOne(t, s, stream(i))
	}
	if got := s.Heads(); got < manyStreams+100 {
		t.Fatalf("%d heads are in memory of %d streams", got, manyStreams+100)
	}
	forgetIdle(t, s)
	if got := s.Heads(); got != 0 {
		t.Errorf("%d heads are in memory though nothing was appended for long", got)
	}
	// A stream goes on where it was, by its name and by the number that the store gave it.
	results, err := s.Append(ctx, nil,
		eventstore.AppendRequest{Stream: heartbeats(7), Expected: eventstore.Exactly(0), Events: []eventstore.EventData{beat}},
		eventstore.AppendRequest{StreamNumber: given[8].StreamNumber, Expected: eventstore.Exactly(0), Events: []eventstore.EventData{beat}},
		eventstore.AppendRequest{Stream: heartbeats(9), Expected: eventstore.NoStream(), Events: []eventstore.EventData{beat}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results[:2] {
		if r.Err != nil || r.Revision != 1 || r.StreamNumber != given[7+i].StreamNumber {
			t.Errorf("stream %d goes on with %+v", 7+i, r)
		}
	}
	if results[2].Err == nil {
		t.Error("a stream whose head was forgotten counts as new")
	}
	if got := s.Heads(); got != 3 {
		t.Errorf("%d heads are in memory of 3 streams", got)
	}
	var others []eventstore.AppendRequest
	for i := range manyStreams {
		if i != 7 && i != 8 {
			others = append(others, eventstore.AppendRequest{Stream: heartbeats(i), Events: []eventstore.EventData{beat}})
		}
	}
	if _, err := s.Append(ctx, nil, others...); err != nil {
		t.Fatal(err)
	}
	checkHeads(t, s, 2)
}

// Whoever appends while heads are forgotten meets the same revisions as ever: of tied streams, by name and by number.
func TestForgettingHeadsChangesNoRevision(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	const writers, rounds = 8, 80
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			key := domain.Key{Namespace: "default", Service: "web", ID: fmt.Sprint("w", w)}
			life, beats := eventstore.LifecycleStream(key), eventstore.HeartbeatStream(key)
			var lived, beaten uint64
			var number uint32
			for range rounds {
				r := eventstore.AppendRequest{Stream: life, Expected: eventstore.Unchanged(lived), Events: []eventstore.EventData{{Type: "x", Data: []byte(`{}`)}}}
				count, other := &lived, &beaten
				if random.IntN(2) == 0 {
					r.Stream, r.Expected, r.Events = beats, eventstore.Unchanged(beaten), []eventstore.EventData{beat}
					count, other = other, count
					if number != 0 && random.IntN(2) == 0 {
						r.Stream, r.StreamNumber = "", number
					}
				}
				if random.IntN(6) == 0 { // the others go on meanwhile
					if err := s.ForgetIdle(); err != nil {
						t.Error(err)
						return
					}
				}
				wrong := random.IntN(8) == 0
				if random.IntN(2) == 0 {
					r.Other = eventstore.Unchanged(*other)
					if wrong {
						r.Other = eventstore.Unchanged(*other + 1)
					}
				} else if wrong {
					r.Expected = eventstore.Unchanged(*count + 1)
				}
				results, err := s.Append(ctx, nil, r)
				if err != nil {
					t.Error(err)
					return
				}
				switch got := results[0]; {
				case wrong && got.Err == nil:
					t.Errorf("%+v of %d and %d events was taken", r, lived, beaten)
				case !wrong && (got.Err != nil || uint64(got.Revision) != *count):
					t.Errorf("%+v of %d and %d events gave %+v", r, lived, beaten, got)
				case !wrong:
					*count++
					number = max(number, got.StreamNumber)
				}
			}
			for stream, want := range map[eventstore.StreamName]uint64{life: lived, beats: beaten} {
				events := uint64(0)
				for e, err := range s.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
					if err != nil || uint64(e.Revision) != events {
						t.Errorf("%s has %d, %v at %d", stream, e.Revision, err, events)
						return
					}
					events++
				}
				if events != want {
					t.Errorf("%s has %d events, not %d", stream, events, want)
				}
			}
		})
	}
	writing.Wait()
}

// An appender that found a head before it was forgotten appends behind whatever came since.
func TestAHeadThatIsForgottenWhileAnAppenderHasItIsNotUsed(t *testing.T) {
	s := open(t, "data", pebblestore.Options{FS: vfs.NewMem()})
	send := func(requests ...eventstore.AppendRequest) []eventstore.AppendResult {
		t.Helper()
		results, err := s.Append(ctx, nil, requests...)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	life := eventstore.AppendRequest{Stream: stream(1), Events: []eventstore.EventData{{Type: "x", Data: []byte(`{}`)}}}
	heard := eventstore.AppendRequest{Stream: heartbeats(1), Events: []eventstore.EventData{beat}}
	tied := life
	tied.Other = eventstore.Unchanged(1)
	numbered := heard
	numbered.Stream, numbered.StreamNumber = "", send(life, heard)[1].StreamNumber

	late := []eventstore.AppendRequest{tied, life, heard, numbered}
	tied.Other = eventstore.Unchanged(2)
	late = append(late, tied)
	forgetIdle(t, s)
	results, err := s.AppendAround(func() {
		forgetIdle(t, s) // the heads that the appender has just loaded
		send(life, heard)
	}, late...)
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err == nil {
		t.Error("a heartbeat that came since the head was forgotten is not seen")
	}
	// Each stream had two events before. The last request names two heartbeats, of which there are four.
	for i, want := range []eventstore.Revision{0, 2, 2, 3} {
		if i > 0 && (results[i].Err != nil || results[i].Revision != want) {
			t.Errorf("request %d gave %+v, want revision %d", i, results[i], want)
		}
	}
	if results[4].Err == nil {
		t.Error("a request is tied to a head that was forgotten")
	}
	if got := send(life, heard); got[0].Revision != 3 || got[1].Revision != 4 {
		t.Errorf("the streams go on with %+v", got)
	}
}
