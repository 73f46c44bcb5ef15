package history_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/projections/history"
)

// Metadata that is read without decoding is JSON in one line, and names the actor that other ways of reading find.
func TestMetadataInThePlainFormIsReadAsInEachOtherForm(t *testing.T) {
	written := `{"actor":"ann","source":"10.1.2.3","via":"http","request_id":"r-1","schema":2}`
	if actor, _, ok := history.Actors(nil, []byte(written)); !ok || actor != "ann" {
		t.Fatalf("what Rollcall writes is read as of %q, %t", actor, ok)
	}
	pieces := []string{`{`, `}`, `"actor":`, `"ann"`, `"bob"`, `,`, `"schema":`, `2`, `01`, `-1`, ` `, "\n", `"a\"b"`, `"ähm"`, `{}`, `null`, `"actor":"ann"`, `{"actor":"ann"`, `,"schema":2}`, ``}
	rapid.Check(t, func(t *rapid.T) {
		draw := func() (metadata []byte) {
			for range rapid.IntRange(0, 6).Draw(t, "pieces") {
				metadata = append(metadata, rapid.SampledFrom(pieces).Draw(t, "piece")...)
			}
			return metadata
		}
		before, metadata := draw(), draw()
		if rapid.Bool().Draw(t, "again") {
			before = metadata
		}
		plain, decoded, ok := history.Actors(before, metadata)
		var line bytes.Buffer
		if ok && (plain != decoded || json.Compact(&line, metadata) != nil || !bytes.Equal(line.Bytes(), metadata)) {
			t.Fatalf("%s is of %q, want %q", metadata, plain, decoded)
		}
	})
}
