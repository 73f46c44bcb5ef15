package queries_test

import (
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

func TestEventsOfChecksAreToldInWords(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 20, 0, time.UTC)
	for want, event := range map[string]domain.Event{
		"check http went critical: GET /health answered 503 after 12 ms, seen by node n1": domain.CheckChanged{
			Check: "http", To: domain.Critical, Cause: domain.CheckProbed, Output: "GET /health answered 503 after 12 ms\nno database", By: "n1", Latency: domain.Duration(12 * time.Millisecond), Looks: 1},
		"check http went passing: GET /health answered 200 after 1.5 s, 3 times in a row, seen by node n1": domain.CheckChanged{
			Check: "http", To: domain.Passing, Cause: domain.CheckProbed, Output: "GET /health answered 200 after 1.5 s", By: "n1", Latency: domain.Duration(1500 * time.Millisecond), Looks: 3},
		"check worker went critical: no report came, last report 20 s before, ttl 15 s": domain.CheckChanged{
			Check: "worker", To: domain.Critical, Cause: domain.CheckLapsed, Last: at.Add(-20 * time.Second), TTL: domain.Duration(15 * time.Second)},
		"check worker went critical: no report came since it was defined 20 s before, ttl 15 s": domain.CheckChanged{
			Check: "worker", To: domain.Critical, Cause: domain.CheckLapsed, Began: at.Add(-20 * time.Second), TTL: domain.Duration(15 * time.Second)},
		"lease expired: no heartbeat since it registered 20 s before, ttl 15 s": domain.LeaseExpired{LastHeard: domain.LastHeard{LastRegistered: at.Add(-20 * time.Second)}, TTL: domain.Duration(15 * time.Second)},
		"lease expired: last heartbeat 20 s before, ttl 15 s":                   domain.LeaseExpired{LastHeard: domain.LastHeard{LastHeartbeat: at.Add(-20 * time.Second)}, TTL: domain.Duration(15 * time.Second)},
		"lease expired: last heard 20 s before, ttl 15 s":                       domain.LeaseExpired{LastHeard: domain.LastHeard{LastEither: at.Add(-20 * time.Second)}, TTL: domain.Duration(15 * time.Second)},
		"lease expired: the last heartbeat is not known, ttl 15 s":              domain.LeaseExpired{TTL: domain.Duration(15 * time.Second)},
		"check worker went warning, says the client: queue is long":             domain.CheckChanged{Check: "worker", To: domain.Warning, Cause: domain.CheckReported, Output: "queue is long"},
		"lease lapsed, health went from passing to critical: last heartbeat 20 s before, ttl 15 s": domain.HealthChanged{
			From: domain.Passing, To: domain.Critical, Source: domain.FromLease, Lapsed: true, LastHeard: domain.LastHeard{LastHeartbeat: at.Add(-20 * time.Second)}, TTL: domain.Duration(15 * time.Second)},
		"heard again after its lease lapsed, health went from critical to passing":                       domain.HealthChanged{From: domain.Critical, To: domain.Passing, Source: domain.FromLease},
		"heard again after its lease lapsed; health stays critical":                                      domain.HealthChanged{From: domain.Critical, To: domain.Critical, Reported: domain.Passing, Source: domain.FromLease},
		"reported as passing by the client; health stays critical, by its checks or its lease":           domain.HealthChanged{From: domain.Critical, To: domain.Critical, Reported: domain.Passing, Source: domain.FromClient},
		"removed: check http was critical since 2026-03-01T12:00:00Z, and remove_after is 10 m":          domain.InstanceDeregistered{Check: "http", CriticalSince: at.Add(-20 * time.Second), RemoveAfter: domain.Duration(10 * time.Minute)},
		"removed: no heartbeat since the lease lapsed at 2026-03-01T12:00:00Z, and remove_after is 10 m": domain.LeaseExpired{CriticalSince: at.Add(-20 * time.Second), RemoveAfter: domain.Duration(10 * time.Minute)},
		"check db added: tcp 10.0.0.6:5432 every 10 s; health went from passing to starting":             domain.CheckAdded{Check: domain.Check{ID: "db", Kind: domain.CheckTCP, Target: "10.0.0.6:5432", Interval: domain.Duration(10 * time.Second)}, Status: domain.Starting, PreviousStatus: domain.Passing},
		"check db redefined: POST http://a/ every 10 s":                                                  domain.CheckAdded{Replaces: true, Check: domain.Check{ID: "db", Kind: domain.CheckHTTP, Method: "POST", URL: "http://a/", Interval: domain.Duration(10 * time.Second)}, Status: domain.Starting},
		"check db removed":                domain.CheckRemoved{Check: "db", Status: domain.Passing},
		"check worker reported as before": domain.HeartbeatReceived{Epoch: 1, Check: "worker"},
		"registered at 10.0.0.5, starting, no ttl, with checks http, worker": domain.InstanceRegistered{Epoch: 1, Details: domain.Details{
			Address: "10.0.0.5", Status: domain.Starting, TTL: domain.NoTTL, Checks: []domain.Check{{ID: "http"}, {ID: "worker"}}}},
		"registered at 10.0.0.5, passing, ttl 30 s, critical when it lapses and removed after 10 m": domain.InstanceRegistered{Epoch: 1, Details: domain.Details{
			Address: "10.0.0.5", Status: domain.Passing, TTL: domain.Duration(30 * time.Second), OnLapse: domain.LapseCritical, RemoveAfter: domain.Duration(10 * time.Minute)}},
	} {
		if got := queries.Words(event, at); got != want {
			t.Errorf("told as %q, want %q", got, want)
		}
	}
}

func TestAFilterByChecks(t *testing.T) {
	for text, bad := range map[string]bool{"http": false, "http:critical": false, "*:critical": false, "a:b": false, "a:b:passing": false, "": true, "*": true, ":critical": true} {
		_, err := queries.ParseInstanceFilter(map[string][]string{"check": {text}})
		if (err != nil) != bad {
			t.Errorf("%q gives %v", text, err)
		}
	}
}
