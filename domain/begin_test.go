package domain_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
)

// A registration that begins the first epoch of a key has the event that Decide gives. What Decide refuses does not begin.
func TestARegistrationBeginsAsDecideSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checks := rapid.SampledFrom([][]domain.Check{nil, nil, {}, {{ID: "a", Kind: domain.CheckTTL, TTL: domain.Duration(time.Minute)}}})
		c := domain.RegisterInstance{
			Key: domain.Key{Namespace: "default", Service: "web", ID: "a"}, Owner: rapid.SampledFrom([]string{"", "o"}).Draw(t, "owner"),
			Epoch: rapid.Uint64Range(0, 1).Draw(t, "epoch"), CreateOnly: rapid.Bool().Draw(t, "create only"), Holder: rapid.SampledFrom([]string{"", "h"}).Draw(t, "holder"),
			Details: domain.Details{
				Address: rapid.SampledFrom([]string{"10.0.0.5", "[::1]", "0:0::1", "host"}).Draw(t, "address"), Ports: rapid.SampledFrom([]map[string]uint16{nil, {}, {"http": 80}}).Draw(t, "ports"),
				Tags: rapid.SampledFrom([][]string{nil, {}, {"a"}}).Draw(t, "tags"), Status: rapid.SampledFrom([]domain.Status{"", domain.Passing, domain.Starting}).Draw(t, "status"),
				OnLapse: rapid.SampledFrom([]domain.LapsePolicy{"", domain.LapseRemoves, domain.LapseCritical}).Draw(t, "on lapse"), Checks: checks.Draw(t, "checks"),
			},
		}
		got, ok := c.Begin()
		want, err := domain.Decide(domain.Instance{Key: c.Key}, c)
		if ok && (err != nil || !reflect.DeepEqual([]domain.Event{got}, want)) {
			t.Fatalf("%+v begins with %+v, but Decide says %+v (%v)", c, got, want, err)
		}
		if plain := c.Epoch == 0 && c.Details.Checks == nil; ok != plain {
			t.Fatalf("%+v begins: %v", c, ok)
		}
	})
}
