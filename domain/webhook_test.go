package domain_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestAWebhooksLife(t *testing.T) {
	spec := domain.WebhookSpec{URL: "https://example.com/hook", Service: "checkout", Types: []string{domain.TypeLeaseExpired}}
	shown := spec
	shown.URL = "https://example.com/..."
	created := domain.WebhookCreated{WebhookSpec: shown, After: 7, Secret: []byte("s"), Target: []byte("t")}
	long, tooLong := strings.Repeat("x", domain.MaxReason+1), domain.InvalidField{Field: "reason", Rule: "must be 0-1024 bytes long"}
	for name, c := range map[string]struct {
		given   []domain.Event
		command domain.WebhookCommand
		want    domain.Event
		err     error
	}{
		"create":               {nil, domain.CreateWebhook{Spec: spec, After: 7, Secret: []byte("s"), Target: []byte("t")}, created, nil},
		"pause":                {[]domain.Event{created}, domain.PauseWebhook{Reason: "noise"}, domain.WebhookPaused{Reason: "noise"}, nil},
		"pause again":          {[]domain.Event{created, domain.WebhookPaused{}}, domain.PauseWebhook{}, nil, nil},
		"pause, too long":      {[]domain.Event{created}, domain.PauseWebhook{Reason: long}, nil, tooLong},
		"pause so again":       {[]domain.Event{created, domain.WebhookPaused{}}, domain.PauseWebhook{Reason: long}, nil, tooLong},
		"resume":               {[]domain.Event{created, domain.WebhookPaused{}}, domain.ResumeWebhook{}, domain.WebhookResumed{}, nil},
		"resume what runs":     {[]domain.Event{created}, domain.ResumeWebhook{}, nil, nil},
		"replay":               {[]domain.Event{created}, domain.ReplayWebhook{After: 3}, domain.WebhookReplayed{After: 3}, nil},
		"delete":               {[]domain.Event{created}, domain.DeleteWebhook{}, domain.WebhookDeleted{}, nil},
		"pause what is gone":   {[]domain.Event{created, domain.WebhookDeleted{}}, domain.PauseWebhook{}, nil, domain.UnknownWebhook{ID: "w"}},
		"pause what never was": {nil, domain.PauseWebhook{}, nil, domain.UnknownWebhook{ID: "w"}},
	} {
		w := domain.Webhook{ID: "w"}
		for _, e := range c.given {
			data, err := domain.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			decoded, err := domain.DecodeEvent(e.EventType(), data)
			if err != nil || !reflect.DeepEqual(decoded, e) {
				t.Fatalf("%s: %+v came back as %+v, %v", name, e, decoded, err)
			}
			w = domain.EvolveWebhook(w, decoded)
		}
		got, err := domain.DecideWebhook(w, c.command)
		if err != nil {
			got = nil // what it is does not count
		}
		if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", name, got, err, c.want, c.err)
		}
	}
}

func TestATargetsPortIsOneThatThereIs(t *testing.T) {
	for url, taken := range map[string]bool{
		"https://example.com": true, "https://example.com:1/": true, "https://[2001:db8::1]:65535/": true,
		"https://example.com:0/": false, "https://example.com:65536/": false, "https://[2001:db8::1]:99999/": false, "https://example.com:/": false,
	} {
		err := domain.WebhookSpec{URL: url}.Validate()
		if (err == nil) != taken {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAnEventOfAWebhookShowsTheHostOfItsTargetOnly(t *testing.T) {
	for whole, want := range map[string]string{
		"https://hooks.example.com/services/T0/B0/s3cr3t": "https://hooks.example.com/...", "http://10.0.0.1:8080/?token=s3cr3t": "http://10.0.0.1:8080/...",
		"http://[::1]:8080?s3cr3t": "http://[::1]:8080/...", "https://example.com": "https://example.com", "https://example.com/": "https://example.com/", "https://example.com/%2Fs3cr3t": "https://example.com/...",
	} {
		command := domain.CreateWebhook{Spec: domain.WebhookSpec{URL: whole}, Secret: []byte("s")}
		if whole != want {
			if _, err := domain.DecideWebhook(domain.Webhook{}, command); !errors.As(err, new(domain.InvalidField)) {
				t.Errorf("%s is taken without its sealed form: %v", whole, err)
			}
			command.Target = []byte("t")
		}
		event, err := domain.DecideWebhook(domain.Webhook{}, command)
		if created, ok := event.(domain.WebhookCreated); !ok || err != nil || created.URL != want || string(created.Target) != string(command.Target) {
			t.Errorf("%s becomes %+v, %v", whole, event, err)
		}
	}
}

func TestWebhookURLsAreChecked(t *testing.T) {
	for _, url := range []string{"", "ftp://example.com", "example.com", "https://", "https://user:pw@example.com", "javascript:alert(1)", "https://example.com/#x", "http://[::1"} {
		if err := (domain.WebhookSpec{URL: url}).Validate(); !errors.As(err, new(domain.InvalidField)) {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, spec := range []domain.WebhookSpec{{URL: "http://a", Service: "A."}, {URL: "http://a", Namespace: "-"}, {URL: "http://a", Types: []string{"Nonsense"}}} {
		if err := spec.Validate(); err == nil {
			t.Errorf("%+v passes", spec)
		}
	}
	if err := (domain.WebhookSpec{URL: "http://10.0.0.1:8080/x?y=z"}).Validate(); err != nil {
		t.Error(err)
	}
}
