package httpapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// What a route does not take is refused by its name, and nothing happens.
func TestCommandsRefuseParametersTheyDoNotKnow(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	webhook := `{"url":"https://example.com/hook"}`
	for _, r := range []struct{ method, path, body, field string }{
		{"DELETE", a1 + "?reson=x", "", "reson"},
		{"DELETE", a1 + "?reason=a&reason=b", "", "reason"},
		{"DELETE", a1 + "?epoch=1&epoch=2", "", "epoch"},
		{"DELETE", a1 + "?ns=default&namespace=prod", "", "namespace"},
		{"PUT", a1 + "?ttl=5s", `{"address":"10.0.0.6"}`, "ttl"},
		{"POST", lookup + "?id=a", `{"address":"10.0.0.6"}`, "id"},
		{"PUT", a1 + "/heartbeat?reason=x", "", "reason"},
		{"PUT", a1 + "/health?epoch=1", `{"status":"critical"}`, "epoch"},
		{"PUT", a1 + "/traffic?reason=x", `{"traffic":"draining"}`, "reason"},
		{"POST", "/v1/commands?ns=prod", `[]`, "ns"},
		{"POST", "/v1/heartbeats?epoch=1", `[]`, "epoch"},
		{"POST", "/v1/backup?have=1", `{}`, "have"},
		{"POST", "/v1/webhooks?ns=prod", webhook, "ns"},
		{"GET", "/v1/webhooks?ns=1", "", "ns"},
		{"GET", "/v1/webhooks/x?ns=1", "", "ns"},
		{"DELETE", "/v1/webhooks/x?reson=1", "", "reson"},
		{"POST", "/v1/webhooks/x/pause?reason=1", "", "reason"},
		{"POST", "/v1/webhooks/x/resume?reason=1", "", "reason"},
		{"POST", "/v1/webhooks/x/replay?from=1", `{"from":"1"}`, "from"},
		{"GET", "/v1/webhooks/x/deliveries?from=1", "", "from"},
		{"GET", "/healthz?x=1", "", "x"},
		{"GET", "/readyz?x=1", "", "x"},
		{"GET", "/metrics?x=1", "", "x"},
		{"GET", lookup + "?at=", "", "at"},
		{"GET", lookup + "?at", "", "at"},
		{"GET", lookup + "?wait=1s&index=", "", "index"},
		{"GET", lookup + "?limit=", "", "limit"},
		{"GET", "/v1/history?from=&to=5", "", "from"},
		{"GET", "/v1/events?follow", "", "follow"},
		{"DELETE", a1 + "?force=", "", "force"},
		{"GET", lookup + "?zone=", "", "zone"},
		{"GET", lookup + "?version=", "", "version"},
		{"GET", lookup + "?tag=a&tag=", "", "tag"},
		{"GET", "/v1/history?actor=", "", "actor"},
		{"GET", "/v1/history?via=", "", "via"},
		{"GET", "/v1/history?reason=", "", "reason"},
	} {
		t.Run(r.method+" "+r.path, func(t *testing.T) { s.send(r.method, r.path, r.body).problem(t, 422, "invalid-field", r.field) })
	}
	s.send("GET", a1, "").want(t, 200)
}

// A namespace that is called by its long name is not taken for the default one.
func TestNamespaceMayBeSpeltOut(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", a1+"?namespace=prod", `{"address":"10.0.0.6"}`).want(t, 201)
	s.send("DELETE", a1+"?namespace=prod&ns=prod", "").want(t, 200)
	s.send("GET", a1, "").want(t, 200)
	s.send("GET", a1+"?ns=prod", "").want(t, 410)
}

// Of two values of a header that has one, neither is taken silently. A header that is a list may have several lines.
func TestAHeaderWithOneValueIsTakenOnceOnly(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	twice := func(method, path, body, name string, values ...string) reply {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		r.Header[http.CanonicalHeaderKey(name)] = values
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b []byte
		if resp.Header.Get("Content-Type") != "text/event-stream" {
			b, err = io.ReadAll(resp.Body)
		}
		if err != nil {
			t.Fatal(err)
		}
		return reply{resp, b}
	}
	id, other := "8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9325"
	for _, c := range []struct{ method, path, body, name, first, second string }{
		{"GET", "/v1/streams/catalog", "", "Last-Event-ID", "1", "2"},
		{"GET", "/v1/streams/catalog", "", "Last-Event-ID", "", "2"},
		{"GET", "/v1/streams/events", "", "Last-Event-ID", "1", "1"},
		{"PUT", a1, `{"address":"10.0.0.6"}`, "If-Match", `"0"`, `"1"`},
		{"PUT", a1, `{"address":"10.0.0.6"}`, "Idempotency-Key", id, other},
		{"PUT", a1, `{"address":"10.0.0.6"}`, "Content-Type", "application/json", "text/plain"},
		{"PUT", a1 + "/heartbeat", "", "X-Request-Id", "a", "b"},
		{"DELETE", a1, "", "Rollcall-Via", "cli", "consul"},
	} {
		twice(c.method, c.path, c.body, c.name, c.first, c.second).problem(t, 422, "invalid-field", c.name)
	}
	etag := s.send("GET", lookup, "").Header.Get("ETag")
	if got := twice("GET", lookup, "", "If-None-Match", `"other"`, etag); got.StatusCode != 304 {
		t.Errorf("with the tag in the second line of If-None-Match the answer is %d", got.StatusCode)
	}
	if got := twice("GET", lookup, "", "Accept", "text/plain", "application/json"); got.StatusCode != 200 {
		t.Errorf("with two lines of Accept the answer is %d", got.StatusCode)
	}
}
