package wire_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A page is appended in the bytes that the library makes of it, whatever is in it.
func TestAHistoryPageIsAppendedAsTheLibraryWritesIt(t *testing.T) {
	texts := []string{"", "ann", "latency over 300 ms", `a "quoted" \ text`, "<b>&", "\u2028", "näher", "\x7f", "\xff", "a\nb"}
	documents := []json.RawMessage{
		nil, json.RawMessage(`{}`), json.RawMessage(`{"epoch":1,"output":"slow"}`), json.RawMessage(`{"epoch": 1}`), json.RawMessage(" [1,\t2]\n"), json.RawMessage(`{"a":"<x>"}`),
		json.RawMessage(`{"a":"x & y"}`), json.RawMessage("{\"a\":\"\u2028\"}"), json.RawMessage(`{"a\"b":"\\","c":"d e"}`), json.RawMessage(`{"a":"\\\\" }`), json.RawMessage(`"a text of another program"`), json.RawMessage(`7`),
		json.RawMessage("{\"a\":\"\xff\"}"), json.RawMessage(`{"a":"b\" ","c":1}`),
	}
	values := []any{nil, "x", "<x>", domain.Passing, domain.Draining, 7, uint16(8080), []string{"a", "b"}, domain.Duration(time.Minute), map[string]int{"a": 1}, []string(nil)}
	moments := []time.Time{{}, time.Unix(1_700_000_000, 0).UTC(), time.Unix(1_700_000_000, 123_456_000).UTC(), time.Unix(1_700_000_000, 5).In(time.FixedZone("", 3600))}
	rapid.Check(t, func(t *rapid.T) {
		text := func() string { return rapid.SampledFrom(texts).Draw(t, "text") }
		position := func() wire.Position {
			return wire.Position{Timeline: rapid.SampledFrom([]string{"", "0c4f"}).Draw(t, "timeline"), Number: eventstore.Position(rapid.Uint32().Draw(t, "position"))}
		}
		page := wire.HistoryPage{Position: position(), Next: text()}
		if rapid.Bool().Draw(t, "entries") {
			page.Entries = []wire.HistoryEntry{}
		}
		for range rapid.IntRange(0, 3).Draw(t, "number") {
			e := wire.HistoryEntry{
				EventID: uuid.UUID{rapid.Byte().Draw(t, "id"), 15: 7}, Position: position(), Revision: 7, RecordedAt: rapid.SampledFrom(moments).Draw(t, "at"), Namespace: text(), Service: text(), ID: text(),
				Type: text(), Summary: text(), Actor: text(), Source: text(), Via: text(), RequestID: text(), Reverts: text(), Reason: text(), Leaf: rapid.Int64().Draw(t, "leaf"),
				Data: rapid.SampledFrom(documents).Draw(t, "data"),
			}
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				e.Changes = append(e.Changes, wire.FieldChange{Field: text(), From: rapid.SampledFrom(values).Draw(t, "from"), To: rapid.SampledFrom(values).Draw(t, "to")})
			}
			page.Entries = append(page.Entries, e)
		}
		for range rapid.IntRange(0, 2).Draw(t, "hours") {
			page.Heartbeats = append(page.Heartbeats, wire.HeartbeatHour{
				Hour: rapid.SampledFrom(moments).Draw(t, "hour"), Received: 7, Expected: 8, LongestGap: domain.Duration(time.Second), Last: rapid.SampledFrom(moments).Draw(t, "last"),
			})
		}
		want, err := json.Marshal(page)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := page.AppendJSON([]byte("before")); err != nil || string(got) != "before"+string(want) {
			t.Fatalf("appended\n%s, %v\nwant\n%s", got, err, want)
		}
	})
}
