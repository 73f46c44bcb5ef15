package eventstore

import (
	"encoding/json"
	"strings"
	"testing"
)

var documents = []string{
	``, ` `, `{}`, `[]`, ` { } `, `{"epoch":1}`, `{"a":1,}`, `{"a" : [1, 2.5, -0, 1e9, 1E-2, true, false, null, "x"]}`, `[1,]`, `[,]`, `{"a"}`, `{a:1}`, `{"a":}`,
	`01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`, `-01`, `1 2`, `tru`, `nul`, `"`, `"\`, `"\u12"`, `"\u12aF"`, `"\x"`, `"\"\\\/\b\f\n\r\t"`, "\"a\nb\"", "\"abcdefgh\x1f\"",
	`"12345678"`, `"1234567\"`, `"1234567\""`, "\"\xff\xfe ähm, ja\"", "\"\x7f\x80\"", "\ufeff{}", `{"a":{"b":[{"c":"d"}]}}x`, "{}\x00", `{"latency over 300 ms":"and more text"}`,
	strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001),
}

func TestWhatIsJSONIsWhatTheLibrarySays(t *testing.T) {
	for _, d := range documents {
		shortest := 0
		if len(d) > 1000 { // nested to the limit
			shortest = len(d) - 1
		}
		for end := shortest; end <= len(d); end++ {
			if got, want := validJSON([]byte(d[:end])), json.Valid([]byte(d[:end])); got != want {
				t.Errorf("%.80q: %v, want %v", d[:end], got, want)
			}
		}
	}
}

func FuzzValidJSON(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := validJSON(b), json.Valid(b); got != want {
			t.Errorf("%q: %v, want %v", b, got, want)
		}
	})
}

func BenchmarkAppendCanonical(b *testing.B) {
	e := RecordedEvent{Stream: "instance-default/web/a", EventData: EventData{
		Type: "HealthChanged", Data: []byte(`{"epoch":1,"from":"passing","to":"warning","source":"client","output":"latency over 300 ms"}`),
		Metadata: []byte(`{"actor":"deploy-bot","source":"10.1.2.3","via":"http","request_id":"0198c0de-7b1a-7c3e-9a51-3f1f0a2b4c5d","schema":1}`),
	}}
	var line []byte
	for b.Loop() {
		line = AppendCanonical(line[:0], &e)
	}
	b.SetBytes(int64(len(line)))
}
