package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// Whoever must know that a request was shed is told of it, and of no other.
func TestARefusedTurnIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := web.NewTurns(1)
		refused := 0
		turns.OnRefused = func() { refused++ }
		serve := func(h echo.HandlerFunc) error {
			c := echo.New().NewContext(httptest.NewRequest(http.MethodPut, "/", nil), httptest.NewRecorder())
			return turns.Admit(h)(c)
		}
		var inner error
		outer := serve(func(echo.Context) error {
			inner = serve(func(echo.Context) error { return nil }) // waits until it is refused
			return nil
		})
		if outer != nil || inner == nil || refused != 1 {
			t.Errorf("answered %v and %v, %d were told", outer, inner, refused)
		}
	})
}
