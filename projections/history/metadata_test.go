package history_test

import (
	"bytes"
	"encoding/json"
	"fmt"
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
		switch rapid.IntRange(0, 2).Draw(t, "again") {
		case 0:
			before = metadata
		case 1: // texts of the same length
			last := rapid.SampledFrom([]string{"abcd", "efgh", `a\"b`, "ab\"d", "ähm", "a\nbc", `ab\\`, `"," "`})
			for _, m := range []*[]byte{&before, &metadata} {
				*m = fmt.Appendf(nil, `{"actor":"ann","via":"http","request_id":"%s","schema":2}`, last.Draw(t, "last"))
			}
		}
		plain, decoded, ok := history.Actors(before, metadata)
		var line bytes.Buffer
		if ok && (plain != decoded || json.Compact(&line, metadata) != nil || !bytes.Equal(line.Bytes(), metadata)) {
			t.Fatalf("%s is of %q, want %q", metadata, plain, decoded)
		}
	})
}
