package pebblestore

import (
	"fmt"
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
	f.Add(appendAlone(nil, &e))
	var list records
	list.add(&e)
	e.Position, e.Metadata, e.Type = 11, nil, "SomethingNew"
	list.add(&e)
	f.Add(list.value)
	b := block{form: blockOfRows}
	e.Type = domain.TypeHeartbeatReceived
	for i := range 3 {
		e.Position++
		b.add(&e, uint32(i+1), 0, i == 1)
	}
	f.Add(b.encode(nil))
	b.form = blockOfColumns
	f.Add(b.encode(nil))
	s := &Store{}
	f.Fuzz(func(t *testing.T, value []byte) {
		if events, err := eventsOf(9, value); err == nil {
			var again records
			for i := range events {
				again.add(&events[i])
			}
			if got, err := eventsOf(again.first, again.value); err != nil || fmt.Sprint(got) != fmt.Sprint(events) {
				t.Errorf("%+v came back as %+v, %v", events, got, err)
			}
		}
		if entries, err := s.decodeBlock(1, value, nil); err == nil && len(entries) > maxBlock {
			t.Errorf("a block of %d", len(entries))
		}
	})
}
