package httpapi_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

func TestTheStatusTellsHowTheNodeIs(t *testing.T) {
	s := start(t)
	s.send("PUT", a1, `{"address":"10.0.0.5"}`).want(t, 201)
	s.send("PUT", "/v1/preservation?ns=prod", `{"held":true,"reason":"rack 4"}`).want(t, 200)
	s.notReady = errors.New("it is shutting down")
	var status wire.Status
	for level := false; !level; level = status.History.Behind != nil && *status.History.Behind == 0 {
		s.send("GET", "/v1/status", "").want(t, 200).json(t, &status)
	}
	if status.Version != "test" || status.StartedAt.IsZero() || status.Uptime <= 0 || time.Duration(status.Uptime) > time.Minute {
		t.Errorf("version, start: %+v", status)
	}
	if status.Ready || status.NotReady != "it is shutting down" {
		t.Errorf("ready: %v %s", status.Ready, status.NotReady)
	}
	if p := status.Store.Position; status.Store.Kind != "embedded" || status.Store.ID == "" || p.Number != 2 || status.Catalog.Position != p || status.History.Position != p || status.Store.Problem != "" {
		t.Errorf("store and projections: %+v", status)
	}
	if status.Catalog.Instances != 1 || status.Catalog.Services != 1 || status.Catalog.Stale || status.History.Entries != 2 {
		t.Errorf("catalog and history: %+v %+v", status.Catalog, status.History)
	}
	if held := status.Leases.ExpiryHeld["prod"]; status.Leases.Count != 1 || status.Leases.Overdue != 0 || len(status.Leases.ExpiryHeld) != 1 || held.Reason != "rack 4" || held.Since.IsZero() {
		t.Errorf("leases: %+v", status.Leases)
	}
	if !status.Listening.Able || status.Listening.Total != 0 || status.Listening.Since != nil {
		t.Errorf("listening: %+v", status.Listening)
	}
	s.send("GET", "/v1/status?x=1", "").problem(t, 422, "invalid-field", "x")
}
