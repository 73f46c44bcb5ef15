package catalog_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// A snapshot that is damaged is refused, or it is one; events that anyone may have written never end
// the process.
func FuzzSnapshotsAndEvents(f *testing.F) {
	c := catalog.New()
	e := eventstore.RecordedEvent{
		EventData: eventstore.EventData{Type: domain.TypeInstanceRegistered, Data: []byte(`{"epoch":1,"address":"a","weight":1,"status":"passing","ttl":"30s"}`)},
		Stream:    "instance-default/web/a", Position: 1, RecordedAt: time.Unix(1, 0).UTC(),
	}
	if _, _, err := c.Apply(&e); err != nil {
		f.Fatal(err)
	}
	f.Add(stateOf(c), string(e.Type), []byte(e.Data))
	f.Add([]byte{}, domain.TypeHealthChanged, []byte(`{"epoch":1,"from":"passing","to":"warning"}`))
	f.Fuzz(func(t *testing.T, state []byte, eventType string, data []byte) {
		loaded, err := catalog.Load(bytes.NewReader(state))
		if err != nil {
			loaded = catalog.New()
		}
		for i := range 2 {
			e := e
			e.Type, e.Data, e.Revision, e.Position = eventType, data, eventstore.Revision(i), eventstore.Position(i+2)
			_, _, _ = loaded.Apply(&e) // refused or not
		}
		for _, key := range loaded.Services("") {
			told(loaded.View(key))
		}
	})
}
