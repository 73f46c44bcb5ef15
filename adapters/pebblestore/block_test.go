package pebblestore

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// beaten is a heartbeat for a block.
type beaten struct {
	event    eventstore.RecordedEvent
	previous eventstore.Position
	ownID    bool
}

// beats draws the heartbeats of a block that begins at position 1000: batches of streams whose numbers follow each other, as clients send
// them, among heartbeats of any streams.
func beats(t *rapid.T, s *Store) (all []beaten) {
	at := time.Unix(1_700_000_000, 123).UTC()
	position := eventstore.Position(1000)
	for range rapid.IntRange(1, 8).Draw(t, "batches") {
		number, revision := rapid.Uint32().Draw(t, "number"), rapid.Uint64().Draw(t, "revision")
		back := rapid.IntRange(0, 900).Draw(t, "back")
		metadata := rapid.SampledFrom([]string{`{"schema":1}`, `{"schema":1,"actor":"a"}`}).Draw(t, "metadata")
		epoch := rapid.Uint64Max(3).Draw(t, "epoch")
		odd := rapid.IntRange(0, 40).Draw(t, "odd")
		for i := range rapid.IntRange(1, maxBlock/8).Draw(t, "heartbeats") {
			b := beaten{event: eventstore.RecordedEvent{
				EventData: eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: domain.HeartbeatReceived{Epoch: epoch}.Encode(), Metadata: []byte(metadata)},
				Position:  position, RecordedAt: at, StreamNumber: number + uint32(i), Revision: eventstore.Revision(revision),
			}}
			if back > 0 {
				b.previous = position - eventstore.Position(back)
			}
			switch {
			case i != odd:
			case epoch == 0:
				b.ownID, b.event.ID = true, uuid.UUID{1, 2, byte(i)}
			case epoch == 1:
				b.event.Data = []byte(`{"epoch":1,"check":"c"}`)
			default:
				b.event.Type, b.ownID, b.event.ID = "CheckRenewed", true, uuid.UUID{3}
			}
			if !b.ownID {
				b.event.ID = s.derivedID(position, at)
			}
			all = append(all, b)
			position += eventstore.Position(rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 7}).Draw(t, "step"))
		}
	}
	return all
}

func blockOf(form byte, all []beaten) []byte {
	b := block{form: form}
	for i := range all {
		b.add(&all[i].event, all[i].event.StreamNumber, all[i].previous, all[i].ownID)
	}
	value := b.encode(nil)
	b.reset()
	b.add(&all[0].event, 1, 0, true) // nothing is left of the heartbeats before
	if b.encode(nil); len(b.ends) != 1 || len(b.extra) < 16 {
		panic("a block that was reset has heartbeats")
	}
	return value
}

// Heartbeats come back from a block of either form as they were, with the same ids and the same chain, and a block that is cut short is
// damaged.
func TestABlockGivesBackItsHeartbeats(t *testing.T) {
	s := &Store{salt: 42}
	rapid.Check(t, func(t *rapid.T) {
		all := beats(t, s)
		for _, form := range []byte{blockOfRows, blockOfColumns} {
			value := blockOf(form, all)
			decoded, err := s.decodeBlock(all[0].event.Position, value, []heartbeat{{previous: 9}})
			if err != nil || len(decoded) != len(all) {
				t.Fatalf("form %d: %d heartbeats of %d, %v", form, len(decoded), len(all), err)
			}
			for i := range all {
				if want := (heartbeat{all[i].event, all[i].previous}); !reflect.DeepEqual(want, decoded[i]) {
					t.Fatalf("form %d, heartbeat %d: %+v, not %+v", form, i, decoded[i], want)
				}
			}
			cut := rapid.IntRange(0, len(value)-1).Draw(t, "cut")
			if _, err := s.decodeBlock(all[0].event.Position, value[:cut], nil); err == nil {
				t.Fatalf("form %d: %d of %d bytes are a block", form, cut, len(value))
			}
		}
	})
}

// The blocks that versions before this one wrote are read.
func TestABlockOfRowsIsReadAsItWasWritten(t *testing.T) {
	written := "\x01\x02\x90\xce\x01\x01\x03{}!\x00\x05\x07\x02\x00\x00\x01\x01\x06\x07\x00\x00\x00\x02"
	s := &Store{salt: 42}
	decoded, err := s.decodeBlock(50, []byte(written), nil)
	if err != nil || len(decoded) != 2 {
		t.Fatal(decoded, err)
	}
	got := ""
	for _, h := range decoded {
		got += fmt.Sprintf("%d %d %d %d %s %s\n", h.event.Position, h.event.StreamNumber, h.event.Revision, h.previous, h.event.Metadata, h.event.Data)
	}
	if want := "50 5 7 48 {}! {\"epoch\":1}\n51 6 7 0 {}! {\"epoch\":2}\n"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// A batch that comes again takes a byte for several of its heartbeats.
func TestABatchThatComesAgainTakesFewBytes(t *testing.T) {
	var all []beaten
	for i := range 200 {
		all = append(all, beaten{event: eventstore.RecordedEvent{
			EventData: eventstore.EventData{Type: domain.TypeHeartbeatReceived, Data: []byte(`{"epoch":1}`)},
			Position:  eventstore.Position(100_000 + i), StreamNumber: uint32(70_000 + i%100), Revision: 17,
		}, previous: eventstore.Position(50_000 + i)})
	}
	if n := len(blockOf(blockOfColumns, all)); n > 60 {
		t.Errorf("%d bytes", n)
	}
}
