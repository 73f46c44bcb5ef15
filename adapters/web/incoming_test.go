package web_test

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// A request holds one turn at a time: none while its body comes, one for long bodies behind the first 64 KiB, and its own afterwards.
func TestABodyThatIsOnItsWayHoldsNoTurn(t *testing.T) {
	const long = 100 << 10
	own := web.NewTurns(1)
	own.Long = web.NewTurns(1)
	free := func(turns *web.Turns) bool {
		if !turns.TryEnter() {
			return false
		}
		turns.Leave()
		return true
	}
	handle := func(ctx context.Context, length int, handler func(in *web.Incoming) error) error {
		request := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", length))).WithContext(ctx)
		c := echo.New().NewContext(request, httptest.NewRecorder())
		return own.Admit(func(c echo.Context) error {
			in := web.Read(c, request.Body)
			defer in.Close()
			return handler(in)
		})(c)
	}
	err := handle(t.Context(), long, func(in *web.Incoming) error {
		if !free(own) {
			t.Error("the request has its turn before its body came")
		}
		if _, err := io.CopyN(io.Discard, in, 64<<10); err != nil || !free(own.Long) {
			t.Errorf("a short body needs a turn for long ones: %v", err)
		}
		if n, err := io.Copy(io.Discard, in); n != long-64<<10 || err != nil || free(own.Long) || !free(own) {
			t.Errorf("the rest of a long body: %d bytes, %v, or it has not the one turn for long bodies", n, err)
		}
		if err := in.Resume(); err != nil || free(own) || !free(own.Long) {
			t.Errorf("after its body the request has not its own turn alone: %v", err)
		}
		return nil
	})
	if err != nil || !free(own) || !free(own.Long) {
		t.Errorf("a turn is left: %v", err)
	}

	own.Long.TryEnter()
	gone, leave := context.WithCancel(t.Context())
	leave()
	err = handle(gone, long, func(in *web.Incoming) error {
		n, err := io.Copy(io.Discard, in)
		if n != 64<<10 || err == nil || in.Refused() == nil {
			t.Errorf("without a turn for long bodies %d bytes were read: %v", n, err)
		}
		return in.Refused()
	})
	if err == nil || !free(own) {
		t.Error("a body for which there was no turn is taken")
	}

	own.Long = nil
	_ = handle(t.Context(), long, func(in *web.Incoming) error {
		if free(own) {
			t.Error("without turns for long bodies a request gives its own up")
		}
		return in.Resume()
	})
}
