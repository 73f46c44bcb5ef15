package domain_test

import (
	"testing"
	"time"

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

func TestDurationsHaveNoPlusSign(t *testing.T) {
	for _, text := range []string{"+1s", "+0s", "+1.5s", "+1h30m"} {
		if got, err := domain.ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}
