package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// withStore is a node that tells which event store it has.
type withStore struct {
	http.RoundTripper
	store string
}

func (n withStore) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/v1/status" {
		return n.RoundTripper.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Request: r, Header: http.Header{"Rollcall-Position": {"1"}},
		Body: io.NopCloser(strings.NewReader(`{"store":{"id":"` + n.store + `"}}`)),
	}, nil
}

// pairOf is a client of two nodes, of which the first one serves one stream and is then away.
func pairOf(t *testing.T, first step, a, b string, second ...step) (c *client.Client, other *script) {
	t.Helper()
	other = &script{steps: second}
	gone := &script{steps: []step{first, {err: errors.New("connection refused")}}}
	c, err := client.New("http://a,http://b", client.Options{Transport: byHost{"a": withStore{gone, a}, "b": withStore{other, b}}})
	if err != nil {
		t.Fatal(err)
	}
	return c, other
}

// Positions of logs that were never restored have no name, so that the other registry takes a position for one of its own.
func TestACopyBeginsAnewAtANodeOfAnotherRegistry(t *testing.T) {
	for name, stores := range map[string]struct{ a, b, last, told string }{
		"another registry":   {"s1", "s2", "", "snapshot 5, change 6, reset 9"},
		"the same registry":  {"s1", "s1", "6", "snapshot 5, change 6, change 7"},
		"nothing is told":    {"s1", "", "6", "snapshot 5, change 6, change 7"},
		"nothing was before": {"", "s2", "6", "snapshot 5, change 6, change 7"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, b := pairOf(t, saysAndEnds(snapshot(5, "x"), put(6, "y")), stores.a, stores.b, says(put(7, "z")), says(snapshot(9, "q")))
				var causes []string
				told, err := follow(t.Context(), c, client.FollowQuery{Service: web, Lost: func(err error) { causes = append(causes, err.Error()) }}, 3)
				if err != nil {
					t.Fatal(err)
				}
				wantTold(t, told, strings.Split(stores.told, ", ")...)
				if last := b.asked[len(b.asked)-1].lastID; last != stores.last {
					t.Errorf("the other node was asked from %q on", last)
				}
				if want := "http://b is another registry than the one before"; (stores.last == "") != strings.Contains(strings.Join(causes, "\n"), want) {
					t.Errorf("it is told: %q", causes)
				}
			})
		})
	}
}

func TestEventsDoNotGoOnAtANodeOfAnotherRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pairOf(t, saysAndEnds(message(7)), "s1", "s2", says(message(9)))
		var positions []uint64
		var last error
		for e, err := range c.StreamEvents(t.Context(), client.EventQuery{After: wire.Position{Number: 5}}) {
			if last = err; err == nil {
				positions = append(positions, uint64(e.Position))
			}
		}
		if other := (*client.OtherRegistry)(nil); !errors.As(last, &other) || other.URL != "http://b" || len(positions) != 1 {
			t.Errorf("%d came, then: %v", positions, last)
		}
	})
}
