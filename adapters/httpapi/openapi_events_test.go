package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/rollcall-registry/rollcall/docs/api"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Events of every schema version that a store can hold are as described: old events stay readable for ever.
func TestEventsOfEverySchemaVersionAreAsDescribed(t *testing.T) {
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Required   []string

				Discriminator struct{ Mapping map[string]string }
			}
		}
	}
	if err := yaml.Unmarshal(api.OpenAPI, &document); err != nil {
		t.Fatal(err)
	}
	versions, err := fs.Glob(os.DirFS("../../domain/testdata/schema"), "*/events.ndjson")
	if err != nil || len(versions) < 2 {
		t.Fatalf("there are the versions %v, %v", versions, err)
	}
	seen := map[string]bool{}
	for _, file := range versions {
		lines, err := os.ReadFile("../../domain/testdata/schema/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(lines) {
			var e struct {
				Type string
				Data map[string]json.RawMessage
			}
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			schema, ok := document.Components.Schemas[e.Type+"Data"]
			if _, whole := document.Components.Schemas[e.Type+"Event"]; !ok || !whole {
				t.Errorf("%s: the type %s is not described", file, e.Type)
				continue
			}
			seen[e.Type] = true
			for field := range e.Data {
				if _, ok := schema.Properties[field]; !ok {
					t.Errorf("%s: the field %s of %s is not described", file, field, e.Type)
				}
			}
			for _, field := range schema.Required {
				if _, ok := e.Data[field]; !ok {
					t.Errorf("%s: %s has no %s, which is described as required", file, e.Type, field)
				}
			}
		}
	}
	var refused wire.Problem // which names the types that there are
	start(t).send("GET", "/v1/events?type=x", "").json(t, &refused)
	types := strings.Split(strings.TrimPrefix(refused.Rule, "must be one of "), ", ")
	same(t, "event types", slices.Collect(maps.Keys(seen)), types)
	same(t, "event types with a mapping", slices.Collect(maps.Keys(document.Components.Schemas["Event"].Discriminator.Mapping)), types)
}
