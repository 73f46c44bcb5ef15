package client_test

import (
	"net/http"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

func TestAPageThatIsItsOwnNextEndsTheReading(t *testing.T) {
	s := &stranger{answer: says200(http.Header{"Rollcall-Position": {"7"}}, `{"services":[],"instances":[],"entries":[],"webhooks":[],"from":{},"next":"c1"}`)}
	c := s.client(t, "http://registry")
	for name, read := range map[string]func() error{
		"services": func() (err error) {
			for _, err = range c.EachService(t.Context(), "", "") {
			}
			return err
		},
		"history": func() (err error) {
			for _, err = range c.HistoryEntries(t.Context(), client.HistoryQuery{}) {
			}
			return err
		},
		"diff":     func() error { _, err := c.Diff(t.Context(), "1", "2"); return err },
		"webhooks": func() error { _, err := c.Webhooks(t.Context()); return err },
	} {
		s.asked = nil
		if err := read(); err == nil || len(s.asked) != 2 {
			t.Errorf("%s: %v after %d requests", name, err, len(s.asked))
		}
	}
}
