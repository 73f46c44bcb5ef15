package eventstore

import (
	"bytes"
	"encoding/json"

	"github.com/rollcall-registry/rollcall/domain"
)

var schemaField = []byte(`"schema":`)

// schemaOf is domain.SchemaOf. It is faster for metadata that Rollcall wrote, which ends with the one digit of the schema.
func schemaOf(metadata []byte) int {
	if n := len(metadata) - 2; n > len(schemaField) && metadata[n+1] == '}' && bytes.HasSuffix(metadata[:n], schemaField) &&
		metadata[n] >= '1' && metadata[n] <= '9' {
		return int(metadata[n] - '0')
	}
	return domain.SchemaOf(metadata)
}

// Upcasted is the event's data in the form of domain.SchemaVersion. An event of a newer schema version gives a
// domain.UnknownEvent.
func Upcasted(e *RecordedEvent) ([]byte, error) {
	schema := schemaOf(e.Metadata)
	if schema == domain.SchemaVersion { // nearly all events
		return e.Data, nil
	}
	return domain.Upcast(e.Type, schema, e.Data)
}

// Decode decodes a recorded event.
func Decode(e *RecordedEvent) (domain.Event, error) {
	data, err := Upcasted(e)
	if err != nil {
		return nil, err
	}
	return domain.DecodeEvent(e.Type, data)
}

// RecordOf is what the record of an event has besides the event itself.
func RecordOf(e *RecordedEvent) domain.Recorded {
	var m domain.Metadata
	_ = json.Unmarshal(e.Metadata, &m) // another program's metadata may be anything
	return domain.Recorded{Actor: m.Actor, At: e.RecordedAt}
}

// Evolve applies an event of an instance's lifecycle stream to the instance's state. An event that cannot be decoded, which
// another program or a newer version wrote, changes only the revision; the error says why it cannot be decoded.
func Evolve(i domain.Instance, e *RecordedEvent) (domain.Instance, error) {
	event, err := Decode(e)
	if err == nil {
		i = domain.Evolve(i, event, RecordOf(e))
	}
	i.Events = uint64(e.Revision) + 1
	return i, err
}
