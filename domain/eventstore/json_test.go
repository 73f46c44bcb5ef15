package eventstore

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimesAndTextsAreWrittenAsTheLibraryWritesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-1<<37, 1<<38).Draw(t, "seconds"), 0).UTC()
		at = at.Add(time.Duration(rapid.SampledFrom([]int64{0, 1, 1000, 123_000, 123_456, 999_999_999, 500_000_000, 100}).Draw(t, "rest")))
		if rapid.Bool().Draw(t, "elsewhere") {
			at = at.In(time.FixedZone("", 3600))
		}
		if got, want := string(appendTime([]byte("at "), at)), "at "+at.Format(time.RFC3339Nano); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab-/.\"\\<>&é\x00\x1f\x7f\u2028")), 0, 30, -1).Draw(t, "text")
		want, _ := json.Marshal(text)
		if got := string(AppendString([]byte("x"), text)); got != "x"+string(want) {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}
