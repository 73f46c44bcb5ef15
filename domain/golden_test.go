package domain_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// goldenEvent is a line of a golden file.
type goldenEvent struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
	// Of the event's record, where they mean something.
	Actor      string    `json:"actor"`
	RecordedAt time.Time `json:"recorded_at"`
}

// Every version of the events ever released folds to the same state for ever. A new schema version adds
// a folder; none is ever changed.
func TestEveryReleasedSchemaFoldsToTheSameState(t *testing.T) {
	folders, err := filepath.Glob("testdata/schema/*")
	if err != nil || len(folders) != domain.SchemaVersion {
		t.Fatalf("%d folders, %v; want one for each schema version", len(folders), err)
	}
	for i, folder := range folders {
		lines, err := os.ReadFile(filepath.Join(folder, "events.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		instance, webhook := domain.Instance{}, domain.Webhook{}
		for line := range strings.Lines(string(lines)) {
			var g goldenEvent
			if err := json.Unmarshal([]byte(line), &g); err != nil {
				t.Fatal(err)
			}
			data, err := domain.Upcast(g.Type, i+1, g.Data)
			if err != nil {
				t.Fatal(err)
			}
			event, err := domain.DecodeEvent(g.Type, data)
			if err != nil {
				t.Fatal(err)
			}
			if event.EventType() != g.Type {
				t.Errorf("%s came back as %s", g.Type, event.EventType())
			}
			if i+1 == domain.SchemaVersion { // what is written today is what was released
				if again, err := domain.Encode(event); err != nil || string(again) != string(g.Data) {
					t.Errorf("%s is written as %s, %v; it was released as %s", g.Type, again, err, g.Data)
				}
			}
			instance, webhook = domain.Evolve(instance, event, domain.Recorded{Actor: g.Actor, At: g.RecordedAt}), domain.EvolveWebhook(webhook, event)
		}
		b, err := os.ReadFile(filepath.Join(folder, "state.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Instance domain.Instance
			Webhook  domain.Webhook
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(instance, want.Instance) || !reflect.DeepEqual(webhook, want.Webhook) {
			got, err := json.Marshal(map[string]any{"Instance": instance, "Webhook": webhook})
			t.Errorf("%s folds to %s, %v", folder, got, err)
		}
	}
}

func TestANewerSchemaIsNotUnderstood(t *testing.T) {
	if _, err := domain.Upcast(domain.TypeHealthChanged, domain.SchemaVersion+1, []byte(`{}`)); !reflect.DeepEqual(err, domain.UnknownEvent{Type: domain.TypeHealthChanged, Schema: domain.SchemaVersion + 1}) {
		t.Errorf("gave %v", err)
	}
	for metadata, want := range map[string]int{`{"schema":3}`: 3, `{}`: 1, `nonsense`: 1, `{"schema":-1}`: 1} {
		if got := domain.SchemaOf([]byte(metadata)); got != want {
			t.Errorf("%s has schema %d, want %d", metadata, got, want)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for schema := 1; schema <= domain.SchemaVersion; schema++ {
		lines, err := os.ReadFile(fmt.Sprintf("testdata/schema/%d/events.ndjson", schema))
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(lines)) {
			var g goldenEvent
			if err := json.Unmarshal([]byte(line), &g); err != nil {
				f.Fatal(err)
			}
			f.Add(g.Type, schema, []byte(g.Data), fmt.Appendf(nil, `{"schema":%d}`, schema))
		}
	}
	f.Fuzz(func(t *testing.T, eventType string, schema int, data, metadata []byte) {
		domain.SchemaOf(metadata)
		up, err := domain.Upcast(eventType, schema, data)
		if err != nil {
			return
		}
		event, err := domain.DecodeEvent(eventType, up)
		if err != nil {
			return
		}
		encoded, err := domain.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		again, err := domain.DecodeEvent(eventType, encoded)
		if err != nil || !reflect.DeepEqual(again, event) {
			t.Errorf("%+v came back as %+v, %v", event, again, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"default/web/a-1", "a/b/c:d.e_f", "//", "A/b/c", "default/web/", "default/web/\x00", "ü/ü/ü", "default/Web.App_v2/pod@node-1,a+b~c=d", "default/web/.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := domain.ParseKey(s)
		if err == nil && key.String() != s {
			t.Errorf("%q came back as %q", s, key)
		}
	})
}
