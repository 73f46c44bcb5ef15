package pebblestore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
)

// Tied and untied appends, retries and reopens are answered as the store in memory answers them.
func TestTiedAppendsAreAnsweredAsTheModelAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		open := func() *pebblestore.Store {
			s, err := pebblestore.Open("data", pebblestore.Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s, model := open(), eventstoretest.NewMemory()
		defer func() { _ = s.Close() }()
		expected := rapid.Custom(func(t *rapid.T) eventstore.ExpectedRevision {
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				return eventstore.Any()
			case 1:
				return eventstore.StreamExists()
			}
			return eventstore.Unchanged(uint64(rapid.IntRange(0, 4).Draw(t, "events")))
		})
		var sent []eventstore.AppendRequest
		numbers := map[eventstore.StreamName]uint32{}
		request := func(t *rapid.T) eventstore.AppendRequest {
			if len(sent) > 0 && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
				return rapid.SampledFrom(sent).Draw(t, "retry")
			}
			instance := fmt.Sprint("default/web/", rapid.IntRange(0, 1).Draw(t, "instance"))
			stream := eventstore.StreamName(rapid.SampledFrom([]string{eventstore.LifecyclePrefix, eventstore.HeartbeatPrefix}).Draw(t, "kind") + instance)
			r := eventstore.AppendRequest{
				Stream: stream, Expected: expected.Draw(t, "expected"), Other: expected.Draw(t, "other"),
				Events: []eventstore.EventData{beat},
			}
			if rapid.Bool().Draw(t, "own id") {
				r.Events = []eventstore.EventData{{ID: uuid.New(), Type: beat.Type, Data: beat.Data, Metadata: beat.Metadata}}
			}
			sent = append(sent, r)
			return r
		}
		for range rapid.IntRange(1, 20).Draw(t, "appends") {
			if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open()
				clear(numbers)
			}
			requests := make([]eventstore.AppendRequest, rapid.IntRange(1, 3).Draw(t, "requests"))
			for i := range requests {
				requests[i] = request(t)
			}
			want, err := model.Append(ctx, nil, requests...)
			if err != nil {
				t.Fatal(err)
			}
			byNumber := append([]eventstore.AppendRequest{}, requests...)
			for i := range byNumber {
				if number := numbers[byNumber[i].Stream]; number != 0 {
					byNumber[i].Stream, byNumber[i].StreamNumber = "", number
				}
			}
			got, err := s.Append(ctx, nil, byNumber...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if number := got[i].StreamNumber; number != 0 {
					numbers[requests[i].Stream] = number
				}
				var gave, wanted *eventstore.WrongExpectedRevision
				if errors.As(got[i].Err, &gave) != errors.As(want[i].Err, &wanted) || gave != nil && *gave != *wanted {
					t.Fatalf("%+v gave %v, the model %v", requests[i], got[i].Err, want[i].Err)
				}
				if got[i].Position != want[i].Position || got[i].Revision != want[i].Revision {
					t.Fatalf("%+v gave %+v, the model %+v", requests[i], got[i], want[i])
				}
			}
		}
	})
}
