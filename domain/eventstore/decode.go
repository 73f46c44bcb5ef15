package eventstore

import (
	"bytes"
	"strconv"

	"github.com/rollcall-registry/rollcall/domain"
)

// currentSchema ends the metadata of an event in the present form, as Rollcall writes it.
var currentSchema = []byte(`"schema":` + strconv.Itoa(domain.SchemaVersion) + "}")

// Upcasted is the event's data in the present form, whichever form it was stored in. A newer form than
// this version knows is a domain.UnknownEvent.
func Upcasted(e *RecordedEvent) ([]byte, error) {
	if bytes.HasSuffix(e.Metadata, currentSchema) { // nearly all of them
		return e.Data, nil
	}
	return domain.Upcast(e.Type, domain.SchemaOf(e.Metadata), e.Data)
}

// Decode is the event that was recorded.
func Decode(e *RecordedEvent) (domain.Event, error) {
	data, err := Upcasted(e)
	if err != nil {
		return nil, err
	}
	return domain.DecodeEvent(e.Type, data)
}
