package eventstore_test

import (
	"errors"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

func TestAnEventOfANewerSchemaIsNotMisread(t *testing.T) {
	e := eventstore.RecordedEvent{EventData: eventstore.EventData{Type: domain.TypeInstanceDeregistered, Data: []byte(`{"epoch":1}`), Metadata: []byte(`{"schema":3}`)}}
	if _, err := eventstore.Decode(&e); !errors.As(err, new(domain.UnknownEvent)) {
		t.Errorf("gave %v", err)
	}
	for _, metadata := range []string{`{"actor":"ann","schema":1}`, `{}`, ``, `{"schema":1,"actor":"ann"}`} {
		e.Metadata = []byte(metadata)
		if got, err := eventstore.Decode(&e); err != nil || got != (domain.InstanceDeregistered{Epoch: 1}) {
			t.Errorf("%s: %+v, %v", metadata, got, err)
		}
	}
}
