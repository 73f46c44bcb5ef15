package httpapi_test

import (
	"strconv"
	"testing"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A client that asks another node with the position of a reply finds what the request did.
func TestTheReplyToAChangeOfTheRegistryHasItsPosition(t *testing.T) {
	s := start(t)
	for i, change := range []struct{ method, path, body string }{
		{"PUT", "/v1/policies/p", `{"keep_last":1}`},
		{"PUT", "/v1/preservation", `{"held":true,"reason":"r"}`},
		{"PUT", "/v1/preservation", `{"held":false,"reason":"r"}`},
		{"DELETE", "/v1/policies/p", ""},
	} {
		got := s.send(change.method, change.path, change.body)
		if position := got.Header.Get("Rollcall-Position"); got.StatusCode >= 300 || position != strconv.Itoa(i+1) {
			t.Errorf("%s %s gave %d at position %s, want its event's, %d", change.method, change.path, got.StatusCode, position, i+1)
		}
		var newest wire.HistoryPage
		s.send("GET", "/v1/history?limit=1", "").want(t, 200).json(t, &newest)
		if len(newest.Entries) != 1 || newest.Entries[0].Position.Number != eventstore.Position(i+1) {
			t.Errorf("the newest event is %+v, want that at %d", newest.Entries, i+1)
		}
	}
}
