package httpapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// What checks send to their targets, and whole URLs of webhooks, are shown to those who may write the instance or manage
// webhooks: in one instance, histories, events and proofs. Lists and streams show them to nobody.
func TestSecretsAreShownToThoseWhoMayWriteThemOnly(t *testing.T) {
	var store eventstore.Store
	g := guarded{}
	g.server = startConfigured(t, pebblestore.Options{}, func(c *httpapi.Config) {
		store = c.Queries.Store
		c.Access, g.commands = &web.Access{Tokens: c.Tokens, Now: time.Now}, c.AccessCommands
	})
	reads := []domain.RoleGrant{{Verbs: []string{"read-catalog", "read-history", "read-events", "write-own"}, Namespace: "*", Service: "*"}}
	if err := g.commands.Do(t.Context(), callerOfTests, domain.SetRole{Name: "reads", Grants: reads}); err != nil {
		t.Fatal(err)
	}
	reader, root := g.token("reader", domain.TokenSpec{Roles: []string{"reads"}}), g.token("root", domain.TokenSpec{Roles: []string{"admin"}})
	check := func(id string) string {
		return `{"id":"` + id + `","kind":"http","url":"http://10.0.0.1/health?key=sesame-query","headers":{"Authorization":"Bearer sesame-header"},"body":"sesame-body","method":"POST"}`
	}
	g.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1","ttl":"1h","checks":[`+check("one")+`]}`, root...).want(t, 201)
	g.send("PUT", "/v1/services/web/instances/a", `{"address":"10.0.0.1","zone":"eu-2","ttl":"1h","checks":[`+check("one")+`]}`, root...).want(t, 200)
	g.send("PUT", "/v1/services/web/instances/a/checks/two", strings.Replace(check("two"), `"id":"two",`, "", 1), root...)
	// The first schema version kept URLs of webhooks as they were.
	_, err := store.Append(t.Context(), nil, eventstore.AppendRequest{Stream: eventstore.WebhookStream("old"), Expected: eventstore.NoStream(), Events: []eventstore.EventData{{
		Type: domain.TypeWebhookCreated, Data: []byte(`{"url":"https://hooks.example/T0/sesame-path","after":"0","secret":"c2VhbGVk"}`), Metadata: []byte(`{"actor":"root"}`),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	never := []string{"/v1/services/web/instances", "/v1/catalog", "/v1/diff?from=1", "/v1/services/web/checks"}
	mayWrite := map[string]int{ // how often secrets are there
		"/v1/services/web/instances/a": 2, "/v1/services/web/instances/a/history": 3, "/v1/history": 4, "/v1/events": 4, "/v1/events?format=cloudevents": 4,
		"/v1/events?heartbeats=false": 4, "/v1/services/web/history": 3,
	}
	var events []string
	for position := range 8 {
		path := fmt.Sprintf("/v1/proofs/inclusion?position=%d", position+1)
		if r := g.send("GET", path, "", root...); r.StatusCode == 200 && strings.Contains(string(r.body), "sesame") {
			events = append(events, path)
			mayWrite[path] = 1
		}
	}
	if len(events) != 4 {
		t.Errorf("%d events have secrets: %v", len(events), events)
	}
	for _, path := range never {
		if r := g.send("GET", path, "", root...).want(t, 200); strings.Contains(string(r.body), "sesame") {
			t.Errorf("%s shows %s", path, r.body)
		}
	}
	for path, want := range mayWrite {
		r := g.send("GET", path, "", root...).want(t, 200)
		if n := strings.Count(string(r.body), "sesame-header") + strings.Count(string(r.body), "sesame-path"); n < want {
			t.Errorf("%s shows the admin %d of %d secrets: %s", path, n, want, r.body)
		}
		r = g.send("GET", path, "", reader...).want(t, 200)
		if strings.Contains(string(r.body), "sesame") || !strings.Contains(string(r.body), "…") && !strings.Contains(string(r.body), `hooks.example/...`) {
			t.Errorf("%s shows the reader %s", path, r.body)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, path := range []string{"/v1/streams/events?from=0", "/v1/events?follow=true", "/v1/streams/catalog?from=1"} {
		for line := range g.lines(ctx, path, reader) {
			if strings.Contains(line, "sesame") {
				t.Errorf("%s shows %s", path, line)
			}
			if strings.Contains(line, "hooks.example") || strings.Contains(path, "catalog") && strings.Contains(line, "eu-2") {
				break
			}
		}
	}
}
