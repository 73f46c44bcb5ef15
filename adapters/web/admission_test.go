package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

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

// Patient turns refuse nobody but clients that are gone.
func TestPatientTurnsComeInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := web.NewTurns(1)
		turns.Patient = true
		serve := func(ctx context.Context) error {
			c := echo.New().NewContext(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), httptest.NewRecorder())
			return turns.Admit(func(echo.Context) error { return nil })(c)
		}
		if !turns.TryEnter() {
			t.Fatal("the turn is taken")
		}
		waiting, leaving := make(chan error, 1), make(chan error, 1)
		gone, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		go func() { waiting <- serve(t.Context()) }()
		go func() { leaving <- serve(gone) }()
		time.Sleep(time.Hour)
		turns.Leave()
		if err := <-waiting; err != nil {
			t.Errorf("whoever waited for an hour is refused: %v", err)
		}
		if err := <-leaving; err == nil {
			t.Error("a client that is gone has a turn")
		}
	})
}
