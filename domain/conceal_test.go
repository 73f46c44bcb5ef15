package domain_test

import (
	"reflect"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestSecretsOfEventsAreConcealed(t *testing.T) {
	secret := domain.Check{ID: "a", Kind: domain.CheckHTTP, URL: "http://10.0.0.1/health?key=1", Headers: map[string]string{"Authorization": "Bearer 1"}, Body: "1"}
	shown := domain.Check{ID: "a", Kind: domain.CheckHTTP, URL: "http://10.0.0.1/health?…", Headers: map[string]string{"Authorization": "…"}, Body: "…"}
	plain := domain.Check{ID: "b", Kind: domain.CheckHTTP, URL: "http://10.0.0.1/health?"}
	with := func(checks ...domain.Check) domain.Details {
		return domain.Details{Address: "10.0.0.1", Checks: checks}
	}
	for _, c := range []struct{ event, want domain.Event }{
		{domain.InstanceRegistered{Epoch: 1, Details: with(plain, secret)}, domain.InstanceRegistered{Epoch: 1, Details: with(plain, shown)}},
		{domain.InstanceUpdated{Epoch: 1, Details: with(secret)}, domain.InstanceUpdated{Epoch: 1, Details: with(shown)}},
		{domain.CheckAdded{Check: secret}, domain.CheckAdded{Check: shown}},
		{domain.WebhookCreated{WebhookSpec: domain.WebhookSpec{URL: "https://example.com/T0/key"}}, domain.WebhookCreated{WebhookSpec: domain.WebhookSpec{URL: "https://example.com/..."}}},
	} {
		before, err := domain.Encode(c.event)
		if err != nil {
			t.Fatal(err)
		}
		got, concealed := domain.Concealed(c.event)
		if !concealed || !reflect.DeepEqual(got, c.want) || !domain.IsConcealed(got) || domain.IsConcealed(c.event) {
			t.Errorf("%+v is shown as %+v, %v", c.event, got, concealed)
		}
		if after, err := domain.Encode(c.event); err != nil || string(after) != string(before) {
			t.Errorf("the event was changed to %s, %v", after, err)
		}
	}
	for _, event := range []domain.Event{
		domain.InstanceRegistered{Details: with(plain)}, domain.CheckAdded{Check: plain}, domain.HeartbeatReceived{Epoch: 1},
		domain.WebhookCreated{WebhookSpec: domain.WebhookSpec{URL: "https://example.com/..."}, Target: []byte("sealed")},
		domain.WebhookCreated{WebhookSpec: domain.WebhookSpec{URL: "https://example.com"}},
	} {
		if got, concealed := domain.Concealed(event); concealed || !reflect.DeepEqual(got, event) || domain.IsConcealed(event) {
			t.Errorf("%+v is shown as %+v, %v", event, got, concealed)
		}
	}
}
