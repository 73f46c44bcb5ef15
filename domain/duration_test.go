package domain_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestDurationsAreReadAsTheLibraryReadsThem(t *testing.T) {
	for _, text := range []string{"", "s", "0s", "1s", "30s", "90m", "24h", "007m", "999999999s", "999999999h", "1000000000s", "-1s", "1.5s", "1h30m", "5ms", "5µs", "3", "h1", "1 s", "none", "1d", "9223372036s", "2562047h", "2562048h"} {
		want, wantErr := time.ParseDuration(text)
		got, err := domain.ParseDuration(text)
		bytes, bytesErr := domain.ParseDuration([]byte(text))
		if got != want || bytes != want || (err == nil) != (wantErr == nil) || (bytesErr == nil) != (wantErr == nil) {
			t.Errorf("%q is %v (%v), and was read as %v (%v)", text, want, wantErr, got, err)
		}
	}
}

func TestWhatIsWrittenOfADurationIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.OneOf(rapid.Int64(), rapid.Map(rapid.Int64Range(0, math.MaxInt64/int64(time.Second)), func(n int64) int64 { return n * int64(time.Second) })).Draw(t, "duration")
		if got, err := domain.ParseDuration(time.Duration(d).String()); err != nil || got != time.Duration(d) {
			t.Fatalf("%v was read as %v (%v)", time.Duration(d), got, err)
		}
		text := rapid.StringMatching(`([0-9]{0,11}[hms.]?){0,4}`).Draw(t, "text")
		want, wantErr := time.ParseDuration(text)
		if got, err := domain.ParseDuration([]byte(text)); got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("%q is %v (%v), and was read as %v (%v)", text, want, wantErr, got, err)
		}
	})
}

func TestDurationsHaveNoPlusSign(t *testing.T) {
	for _, text := range []string{"+1s", "+0s", "+1.5s", "+1h30m"} {
		if got, err := domain.ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}
