package access_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/projections/access"
)

// folded is the state after an event.
type folded struct {
	After   string
	Tokens  []access.Listed
	Roles   []domain.Role     // that are not built in
	Bearers map[string]bearer // by the first byte of the secret's hash
}

type bearer struct {
	Name    string
	Grants  []domain.Grant
	Expires time.Time
	Admits  []string // of the addresses that the test tries
}

// Every version of the events of tokens and roles ever released folds to the same rights for ever, after each event. A new
// schema version adds a file; none is ever changed.
func TestTheAccessEventsOfEverySchemaFoldToTheSameRights(t *testing.T) {
	for schema := 1; schema <= domain.SchemaVersion; schema++ {
		lines, err := os.ReadFile(fmt.Sprintf("../../domain/testdata/schema/%d/events.ndjson", schema))
		if err != nil {
			t.Fatal(err)
		}
		var events []eventstore.EventData
		for line := range strings.Lines(string(lines)) {
			var g struct {
				Type string
				Data json.RawMessage
			}
			if err := json.Unmarshal([]byte(line), &g); err != nil {
				t.Fatal(err)
			}
			switch g.Type {
			case domain.TypeTokenCreated, domain.TypeTokenRotated, domain.TypeTokenRevoked, domain.TypeRoleSet, domain.TypeRoleRemoved:
				events = append(events, eventstore.EventData{Type: g.Type, Data: g.Data, Metadata: fmt.Appendf(nil, `{"schema":%d}`, schema)})
			}
		}
		var got bytes.Buffer
		for n := range events {
			line, err := json.Marshal(fold(t, events[:n+1]))
			if err != nil {
				t.Fatal(err)
			}
			got.Write(append(line, '\n'))
		}
		want, err := os.ReadFile(filepath.Join("testdata", "schema", fmt.Sprint(schema)+".ndjson"))
		if err != nil {
			t.Error(err)
		}
		if got.String() != string(want) {
			t.Errorf("schema %d folds to\n%s", schema, got.String())
		}
	}
}

// fold is the state after events, as callers meet it.
func fold(t *testing.T, events []eventstore.EventData) folded {
	t.Helper()
	store := eventstoretest.NewMemory()
	results, err := store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.AccessStream, Expected: eventstore.NoStream(), Events: events})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	table, err := access.Open(t.Context(), store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := folded{After: events[len(events)-1].Type, Tokens: table.Tokens(), Roles: table.Roles()[len(domain.BuiltInRoles()):], Bearers: map[string]bearer{}}
	for first := range byte(8) {
		hash := domain.SecretHash(bytes.Repeat([]byte{first}, len(domain.SecretHash{})))
		b := table.Find(hash)
		if b == nil {
			continue
		}
		shown := bearer{Name: b.Name, Grants: b.Grants, Expires: b.Expires}
		for _, address := range []string{"10.1.2.3", "192.0.2.1", "::1"} {
			if b.Admits(now, netip.MustParseAddr(address)) {
				shown.Admits = append(shown.Admits, address)
			}
		}
		f.Bearers[fmt.Sprint(first)] = shown
	}
	return f
}
