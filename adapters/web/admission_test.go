package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// Whoever must know that a request waits or was shed is told of it, and of no other.
func TestATurnThatIsRefusedOrLongInComingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := web.NewTurns(1)
		refused, waited := 0, 0
		turns.OnRefused = func() { refused++ }
		turns.OnWaiting = func() { waited++ }
		serve := func(h echo.HandlerFunc) error {
			c := echo.New().NewContext(httptest.NewRequest(http.MethodPut, "/", nil), httptest.NewRecorder())
			return turns.Admit(h)(c)
		}
		var inner error
		outer := serve(func(echo.Context) error {
			inner = serve(func(echo.Context) error { return nil }) // waits until it is refused
			return nil
		})
		if outer != nil || inner == nil || refused != 1 || waited < 9 || waited > 10 {
			t.Errorf("answered %v and %v, %d refusals and %d waits were told", outer, inner, refused, waited)
		}
	})
}
