package catalog_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// texts are the texts of details that filters ask for.
func texts(d domain.Details) []string {
	all := append([]string{d.Zone, d.Version}, d.Tags...)
	for key, value := range d.Metadata {
		all = append(all, key, value)
	}
	return all
}

func TestAnEntryMayHoldWhatItsDetailsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events, _ := history(t)
		c := catalog.New()
		apply(t, c, events)
		for e := range c.All {
			for _, text := range texts(e.Details()) {
				if !e.MayHold(text) {
					t.Fatalf("%q is in %+v, and is passed over", text, e.Details())
				}
			}
		}
	})
}

func TestAnEntryMayHoldATextInEachFormOfJSON(t *testing.T) {
	for name, test := range map[string]struct {
		fields string
		holds  []string
		not    []string
	}{
		"plain":                  {`"zone":"z1","version":"1.2","tags":["a b"],"metadata":{"k":"v"}`, []string{"z1", "1.2", "a b", "k", "v"}, []string{"z", "z12", "a", "b"}},
		"escaped by number":      {`"zone":"\u007a1"`, []string{"z1"}, nil},
		"escaped though plain":   {`"zone":"a\/b"`, []string{"a/b"}, nil},
		"escaped as Go does":     {`"zone":"a\u003cb"`, []string{"a<b"}, nil},
		"not escaped as Go does": {`"zone":"a<b"`, []string{"a<b"}, []string{"a>b"}},
		"letters beyond ASCII":   {`"zone":"zürich"`, []string{"zürich"}, []string{"zurich"}},
		"not UTF-8":              {"\"zone\":\"z\xff\"", []string{"z\uFFFD"}, []string{"z"}},
		"null":                   {`"metadata":{"k":null}`, []string{"k", ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			key := domain.Key{Namespace: "default", Service: "cart", ID: "a"}
			c := catalog.New()
			_, e, err := c.Apply(&eventstore.RecordedEvent{
				Stream: eventstore.LifecycleStream(key), Position: 1, RecordedAt: start,
				EventData: eventstore.EventData{
					Type: domain.TypeInstanceRegistered, Metadata: []byte(`{"schema":2}`),
					Data: fmt.Appendf(nil, `{"epoch":1,"address":"10.0.0.5",%s,"weight":100,"status":"passing","ttl":"30s"}`, test.fields),
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range test.holds {
				if !e.MayHold(text) {
					t.Errorf("%q may not be in %+v", text, e.Details())
				}
			}
			for _, text := range test.not {
				if e.MayHold(text) {
					t.Errorf("%q may be in %+v", text, e.Details())
				}
			}
			held := texts(e.Details())
			for _, text := range held {
				if !e.MayHold(text) {
					t.Errorf("%q is in %+v, and is passed over", text, e.Details())
				}
			}
		})
	}
}
