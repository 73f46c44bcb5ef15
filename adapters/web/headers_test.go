package web_test

import (
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// The first return of the preferences counts, as RFC 7240 has it.
func TestARequestPrefersAMinimalReply(t *testing.T) {
	for _, one := range []struct {
		lines   []string
		minimal bool
	}{
		{nil, false},
		{[]string{"return=minimal"}, true},
		{[]string{`Return = "minimal" ; why=metrics`}, true},
		{[]string{"respond-async, wait=10", "return=minimal"}, true},
		{[]string{"return=representation, return=minimal"}, false},
		{[]string{"return=minimal", "return=representation"}, true},
		{[]string{"return"}, false},
		{[]string{"return="}, false},
		{[]string{"minimal"}, false},
		{[]string{"x=return=minimal"}, false},
	} {
		r, w := httptest.NewRequest("POST", "/", nil), httptest.NewRecorder()
		r.Header["Prefer"] = one.lines
		if got, told := web.Minimal(echo.New().NewContext(r, w)), w.Header().Get("Preference-Applied"); got != one.minimal || (told == "return=minimal") != one.minimal {
			t.Errorf("%q is minimal: %t, %q", one.lines, got, told)
		}
	}
}
