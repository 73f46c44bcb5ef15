package queries

import (
	"encoding/json"
	"strconv"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// EncodeCloudEvent writes an event in the JSON form of CloudEvents 1.0.
func EncodeCloudEvent(storeID string, e *eventstore.RecordedEvent) ([]byte, error) {
	ce := CloudEvent(storeID, e)
	encoded, err := json.Marshal(ce)
	if err == nil {
		return encoded, nil
	}
	if err := ce.SetData("application/octet-stream", e.Data); err != nil { // the data of another program's event may be no JSON
		return nil, err
	}
	return json.Marshal(ce)
}

// CloudEvent is an event in the form of CloudEvents 1.0 (cloudevents.io). Position, revision and
// metadata are extension attributes.
func CloudEvent(storeID string, e *eventstore.RecordedEvent) cloudevents.Event {
	ce := cloudevents.New()
	ce.SetID(e.ID.String())
	ce.SetSource("/rollcall/" + storeID)
	ce.SetType("io.rollcall." + e.Type)
	ce.SetTime(e.RecordedAt)
	subject := string(e.Stream)
	if key, ok := e.Stream.InstanceKey(); ok {
		subject = key.String()
	}
	ce.SetSubject(subject)
	_ = ce.SetData(cloudevents.ApplicationJSON, json.RawMessage(e.Data)) // bytes always fit
	ce.SetExtension("position", wire.PositionOf(e).String())
	ce.SetExtension("revision", strconv.FormatUint(uint64(e.Revision), 10))
	var m domain.Metadata
	if json.Unmarshal(e.Metadata, &m) == nil {
		for name, value := range map[string]string{"actor": m.Actor, "origin": m.Source, "via": m.Via, "requestid": m.RequestID} {
			if value != "" {
				ce.SetExtension(name, value)
			}
		}
	}
	return ce
}
