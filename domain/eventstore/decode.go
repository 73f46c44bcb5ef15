package eventstore

import (
	"bytes"
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
)

var schemaField = []byte(`"schema":`)

// schemaOf is domain.SchemaOf, quicker for metadata as Rollcall writes it, which end in the schema's one digit.
func schemaOf(metadata []byte) int {
	if n := len(metadata) - 2; n > len(schemaField) && metadata[n+1] == '}' && bytes.HasSuffix(metadata[:n], schemaField) &&
		metadata[n] >= '1' && metadata[n] <= '9' {
		return int(metadata[n] - '0')
	}
	return domain.SchemaOf(metadata)
}

// Upcasted is the event's data in the present form, whichever form it was stored in. A newer form than
// this version knows is a domain.UnknownEvent.
func Upcasted(e *RecordedEvent) ([]byte, error) {
	schema := schemaOf(e.Metadata)
	if schema == domain.SchemaVersion { // nearly all of them
		return e.Data, nil
	}
	return domain.Upcast(e.Type, schema, e.Data)
}

// Decode is the event that was recorded.
func Decode(e *RecordedEvent) (domain.Event, error) {
	data, err := Upcasted(e)
	if err != nil {
		return nil, err
	}
	return domain.DecodeEvent(e.Type, data)
}

// RecordOf is what the event's record says beside the event.
func RecordOf(e *RecordedEvent) domain.Recorded {
	var m domain.Metadata
	_ = json.Unmarshal(e.Metadata, &m) // another writer's may be anything
	return domain.Recorded{Actor: m.Actor, At: e.RecordedAt}
}

// Evolve folds an event of an instance's lifecycle stream into its state. An event that cannot be read, which another
// program or a newer version wrote, changes nothing but the stream's revision; the error says what is wrong with it.
func Evolve(i domain.Instance, e *RecordedEvent) (domain.Instance, error) {
	event, err := Decode(e)
	if err == nil {
		i = domain.Evolve(i, event, RecordOf(e))
	}
	i.Events = uint64(e.Revision) + 1
	return i, err
}
