package httpapi_test

import (
	"strings"
	"testing"
)

// A command that is sent again with its key is carried out once, and is answered as before.
func TestACommandThatIsSentAgainWithItsKeyIsAnsweredAsBefore(t *testing.T) {
	s := start(t)
	const first, second = `"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "8e03978e-40d5-43dd-bc93-6894a57f9325"
	create := func() reply {
		return s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`, "If-None-Match", "*", "Idempotency-Key", first)
	}
	created := create().want(t, 201)
	s.send("DELETE", "/v1/services/web/instances/a", "", "Idempotency-Key", second).want(t, 200)
	if again := create().want(t, 201); string(again.body) != string(created.body) || again.Header.Get("ETag") != created.Header.Get("ETag") {
		t.Errorf("sent again it gave %s %s, before %s %s", again.body, again.Header.Get("ETag"), created.body, created.Header.Get("ETag"))
	}
	s.send("DELETE", "/v1/services/web/instances/a", "", "Idempotency-Key", strings.ToUpper(second)).want(t, 200)
	s.send("DELETE", "/v1/services/web/instances/a", "").problem(t, 404, "unknown-instance", "")
	s.send("DELETE", "/v1/services/web/instances/a?reason=other", "", "Idempotency-Key", second).problem(t, 422, "invalid-field", "Idempotency-Key")

	one := s.send("POST", "/v1/services/web/instances", `{"address":"10.0.0.1"}`, "Idempotency-Key", first).want(t, 201)
	two := s.send("POST", "/v1/services/web/instances", `{"address":"10.0.0.1"}`, "Idempotency-Key", first).want(t, 201)
	if string(one.body) != string(two.body) || one.Header.Get("Location") != two.Header.Get("Location") {
		t.Errorf("a registration under a new id gave %s, and then %s", one.body, two.body)
	}

	const batch = `[{"type":"RegisterInstance","service":"web","id":"b","address":"10.0.0.1","if_none_match":"*"},{"type":"x"},
		{"type":"RegisterInstance","service":"web","id":"c","address":"10.0.0.1","if_none_match":"*"}]`
	before := s.send("POST", "/v1/commands", batch, "Idempotency-Key", first).want(t, 200)
	if again := s.send("POST", "/v1/commands", batch, "Idempotency-Key", first).want(t, 200); string(again.body) != string(before.body) || !strings.Contains(string(again.body), `"id":"c"`) {
		t.Errorf("a batch that was sent again gave %s, before %s", again.body, before.body)
	}
}

func TestAKeyThatHasNoEffectIsRefused(t *testing.T) {
	s := start(t)
	const key = "8e03978e-40d5-43dd-bc93-6894a57f9324"
	for _, bad := range []string{"", "1", key + "0"} {
		s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`, "Idempotency-Key", bad).problem(t, 422, "invalid-field", "Idempotency-Key")
	}
	s.send("POST", "/v1/webhooks", `{"url":"http://10.0.0.1/"}`, "Idempotency-Key", key).problem(t, 422, "invalid-field", "Idempotency-Key")
	s.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1"}`).want(t, 201)
	for range 2 { // it does no harm twice
		s.send("PUT", "/v1/services/web/instances/a/heartbeat", "", "Idempotency-Key", key).want(t, 200)
	}
	s.send("GET", "/v1/services/web", "", "Idempotency-Key", key).want(t, 200)
}
