package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// fakeDeliveries delivers nothing: package webhooks is tested with targets, and the binary with both.
type fakeDeliveries struct{}

func (fakeDeliveries) NewSecret(from string) (string, error) { return "whsec_new" + from, nil }
func (fakeDeliveries) Seal(secret string) ([]byte, error) {
	if !strings.HasPrefix(secret, "whsec_") {
		return nil, domain.InvalidField{Field: "secret", Rule: "must be whsec_…"}
	}
	return []byte("sealed"), nil
}
func (fakeDeliveries) SealURL(url string) ([]byte, error) { return []byte(url), nil }
func (fakeDeliveries) Target(w domain.Webhook) (string, error) {
	if len(w.Target) == 0 {
		return w.Spec.URL, nil
	}
	return string(w.Target), nil
}
func (fakeDeliveries) Check(url string) error {
	if strings.Contains(url, "127.0.0.1") {
		return domain.InvalidField{Field: "url", Rule: "must not be private"}
	}
	return nil
}
func (fakeDeliveries) Attempts(string, int) ([]json.RawMessage, error) {
	return []json.RawMessage{[]byte(`{"event":"e","position":"1","type":"T","attempt":1,"at":"2026-03-01T00:00:00Z","took":"1ms","delivered":true}`)}, nil
}

func TestWebhooksAreManagedOverHTTP(t *testing.T) {
	s := start(t)
	var w struct {
		ID, Secret, Reason string
		Paused             bool
	}
	s.send("POST", "/v1/webhooks", `{"url":"https://example.com/x","service":"web","types":["LeaseExpired"]}`).want(t, 201).json(t, &w)
	if w.Secret != "whsec_new" {
		t.Errorf("a new webhook is %+v", w)
	}
	path := "/v1/webhooks/" + w.ID
	if shown := s.send("GET", path, "").want(t, 200); !strings.Contains(string(shown.body), `"url":"https://example.com/x"`) {
		t.Errorf("who may manage webhooks sees %s", shown.body)
	}
	if events := s.send("GET", "/v1/events", "").want(t, 200); strings.Contains(string(events.body), "example.com/x") {
		t.Errorf("who may read events sees %s", events.body)
	}
	s.send("POST", path+"/pause", `{"reason":"noise"}`).want(t, 200).json(t, &w)
	if !w.Paused || w.Reason != "noise" {
		t.Errorf("a paused webhook is %+v", w)
	}
	s.send("POST", path+"/resume", "").want(t, 200)
	s.send("POST", path+"/replay", `{"from":"1"}`).want(t, 200)
	s.send("GET", path+"/deliveries?limit=5", "").want(t, 200)
	if list := s.send("GET", "/v1/webhooks", "").want(t, 200); !strings.Contains(string(list.body), w.ID) || strings.Contains(string(list.body), "whsec") {
		t.Errorf("the list is %s", list.body)
	}
	s.send("DELETE", path+"?reason=done", "").want(t, 204)
	s.send("GET", path, "").problem(t, 404, "unknown-webhook", "")
	s.send("POST", path+"/pause", "").problem(t, 404, "unknown-webhook", "")
	var p page
	s.send("GET", path+"/history?order=oldest", "").want(t, 200).json(t, &p)
	var told []string
	for _, e := range p.Entries {
		told = append(told, e.Summary)
	}
	if got := strings.Join(told, "; "); got != "webhook to https://example.com/... created; webhook paused: noise; webhook resumed; webhook sent to what comes after position 0; webhook deleted: done" {
		t.Errorf("its history is %s", got)
	}
	for body, field := range map[string]string{
		`{"url":"ftp://x"}`: "url", `{"url":"http://127.0.0.1"}`: "url", `{"url":"http://x","types":["No"]}`: "types[0]", `{"url":"http://x","service":"A."}`: "service",
		`{"url":"http://x","secret":"s"}`: "secret", `{"url":"http://x","from":"tomorrow"}`: "from", `{"url":"http://x","from":"999"}`: "from", `{"url":"http://x","colour":1}`: "colour",
	} {
		s.send("POST", "/v1/webhooks", body).problem(t, 422, "invalid-field", field)
	}
}

func TestWebhooksAreListedInPages(t *testing.T) {
	s := start(t)
	var ids []string
	for range 7 {
		var w struct{ ID string }
		s.send("POST", "/v1/webhooks", `{"url":"https://example.com/x"}`).want(t, 201).json(t, &w)
		ids = append(ids, w.ID)
	}
	s.send("DELETE", "/v1/webhooks/"+ids[2], "").want(t, 204)
	ids = slices.Delete(ids, 2, 3)
	var got []string
	pages := 0
	for cursor := ""; ; pages++ {
		var page wire.WebhookList
		s.send("GET", "/v1/webhooks?limit=2&cursor="+cursor, "").want(t, 200).json(t, &page)
		for _, w := range page.Webhooks {
			got = append(got, w.ID)
		}
		if pages == 0 { // the page ends at a webhook that is deleted then: the next one goes on all the same
			s.send("DELETE", "/v1/webhooks/"+page.Webhooks[1].ID, "").want(t, 204)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for _, cursor := range []string{"x", "!!", base64.RawURLEncoding.EncodeToString([]byte(ids[0]))} {
		s.send("GET", "/v1/webhooks?cursor="+cursor, "").want(t, 422)
	}
	slices.Sort(ids) // ids of one millisecond may come in any order
	if !slices.Equal(got, ids) || pages != 2 {
		t.Errorf("%d pages list %v, want %v", pages+1, got, ids)
	}
	for path, field := range map[string]string{"?limit=0": "limit", "?limit=1001": "limit", "?cursor=!": "cursor"} {
		s.send("GET", "/v1/webhooks"+path, "").problem(t, 422, "invalid-field", field)
	}
}
