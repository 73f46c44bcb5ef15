package pebblestore

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// What is read from disk is either what was written or damaged; it never ends the process.
func FuzzStoredValues(f *testing.F) {
	e := eventstore.RecordedEvent{
		EventData: eventstore.EventData{ID: uuid.UUID{1}, Type: domain.TypeHealthChanged, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"schema":1}`)},
		Stream:    "instance-default/web/a", Revision: 3, Position: 9, RecordedAt: time.Unix(1, 2).UTC(),
	}
	f.Add(appendRecord(nil, &e))
	var b block
	e.Type = domain.TypeHeartbeatReceived
	for i := range 3 {
		e.Position++
		b.add(&e, uint32(i+1), 0, i == 1)
	}
	f.Add(b.encode(nil))
	s := &Store{}
	f.Fuzz(func(t *testing.T, value []byte) {
		var e, again eventstore.RecordedEvent
		if picked, err := readRecord(&e, 9, value, nil, new(arena)); err == nil && picked {
			_, err := readRecord(&again, 9, appendRecord(nil, &e), nil, new(arena))
			if err != nil || string(again.Data) != string(e.Data) || again.Stream != e.Stream || again.ID != e.ID {
				t.Errorf("%+v came back as %+v, %v", e, again, err)
			}
		}
		if entries, err := s.decodeBlock(1, value, nil); err == nil && len(entries) > maxBlock {
			t.Errorf("a block of %d", len(entries))
		}
	})
}
