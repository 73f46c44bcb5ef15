package domain_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

// A registration is stored as encoding/json would write it, byte for byte, whatever it holds.
func TestARegistrationIsEncodedAsTheLibraryDoes(t *testing.T) {
	text := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[ -~]{0,8}`), rapid.String(), rapid.SampledFrom([]string{"<&>", "\u2028", "\x00", "é", "\xff", "\x7f", `"\`}))
	duration := rapid.OneOf(
		rapid.SampledFrom([]domain.Duration{0, domain.NoTTL, domain.Duration(time.Second), domain.Duration(90 * time.Minute), domain.Duration(1500 * time.Millisecond)}),
		rapid.Map(rapid.Int64Range(0, 1<<33), func(n int64) domain.Duration { return domain.Duration(n * int64(time.Second)) }),
		rapid.Map(rapid.Int64(), func(n int64) domain.Duration { return domain.Duration(n) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		e := domain.InstanceRegistered{
			Epoch: rapid.Uint64().Draw(t, "epoch"), Owner: text.Draw(t, "owner"), Replaces: rapid.Uint64Range(0, 2).Draw(t, "replaces"), Reported: domain.Status(text.Draw(t, "reported")),
			Details: domain.Details{
				Address: text.Draw(t, "address"), Ports: rapid.MapOf(text, rapid.Uint16()).Draw(t, "ports"), Tags: rapid.SliceOf(text).Draw(t, "tags"),
				Metadata: rapid.MapOf(text, text).Draw(t, "metadata"), Zone: text.Draw(t, "zone"), Version: text.Draw(t, "version"), Weight: rapid.Uint16().Draw(t, "weight"),
				Status: domain.Status(text.Draw(t, "status")), TTL: duration.Draw(t, "ttl"), OnLapse: domain.LapsePolicy(text.Draw(t, "on lapse")), RemoveAfter: duration.Draw(t, "remove after"),
			},
		}
		if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
			e.Maintenance = &domain.InMaintenance{By: "x"}
		}
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := domain.Encode(e)
		if err != nil || string(got) != string(want) {
			t.Fatalf("encoded as %s (%v), want %s", got, err, want)
		}
	})
}

// A new field of a registration needs a place in appendPlain, or a registration that has the field must not be plain.
func TestEveryFieldOfARegistrationIsEncoded(t *testing.T) {
	if own, details := reflect.TypeFor[domain.InstanceRegistered]().NumField(), reflect.TypeFor[domain.Details]().NumField(); own != 6 || details != 13 {
		t.Errorf("a registration has %d fields and %d details: see whether appendPlain knows them all, and correct this test", own, details)
	}
}

func BenchmarkEncodeRegistered(b *testing.B) {
	e := domain.InstanceRegistered{Epoch: 1, Details: domain.Details{
		Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080}, Tags: []string{"canary"}, Metadata: map[string]string{"team": "shop"}, Zone: "eu-1a", Version: "1.4.2",
		Weight: 100, Status: domain.Passing, TTL: domain.Duration(time.Hour),
	}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := domain.Encode(e); err != nil {
			b.Fatal(err)
		}
	}
}
