package eventstore_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// An exported line that is read and written again is the same line.
func FuzzParseJSON(f *testing.F) {
	e := eventstore.RecordedEvent{
		EventData: eventstore.EventData{ID: uuid.UUID{1}, Type: "HealthChanged", Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"schema":1}`)},
		Stream:    "instance-default/web/a", Revision: 3, Position: 9, RecordedAt: time.Unix(1, 2).UTC(),
	}
	f.Add(eventstore.AppendJSON(nil, &e))
	e.Timeline = "0a1b2c3d4e"
	e.Data, e.Metadata, e.Stream = []byte{0xff}, nil, "weird \"<&> stream"
	f.Add(eventstore.AppendJSON(nil, &e))
	f.Add([]byte(`{"position":"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := eventstore.ParseJSON(line)
		if err != nil || e.RecordedAt.Year() < 0 || e.RecordedAt.Year() > 9999 {
			return
		}
		once := eventstore.AppendJSON(nil, &e)
		again, err := eventstore.ParseJSON(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice := eventstore.AppendJSON(nil, &again); !bytes.Equal(once, twice) {
			t.Errorf("%s became %s", once, twice)
		}
	})
}
