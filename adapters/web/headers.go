package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Once refuses a request that has one of the headers twice. Each has one value, of which two contradict each other: a subscriber with two
// positions would go on at either.
func Once(names ...string) echo.MiddlewareFunc {
	canonical := make([]string, len(names))
	for i, name := range names {
		canonical[i] = http.CanonicalHeaderKey(name)
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			given := c.Request().Header
			for i, name := range canonical {
				if len(given[name]) > 1 {
					return domain.InvalidField{Field: names[i], Rule: "must be given once"}
				}
			}
			return next(c)
		}
	}
}

// listed is the value of a header that is a list, of which a request may have several lines (RFC 9110 5.3).
func listed(h http.Header, name string) string {
	lines := h[name]
	if len(lines) == 1 {
		return lines[0]
	}
	return strings.Join(lines, ", ")
}

// Minimal says whether the request prefers that the reply leaves out what it can (RFC 7240, Prefer: return=minimal). The reply then says
// that it does.
func Minimal(c echo.Context) bool {
	for preference := range strings.SplitSeq(listed(c.Request().Header, "Prefer"), ",") {
		preference, _, _ = strings.Cut(preference, ";")
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "return") {
			continue
		}
		minimal := strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "minimal") // the first one counts
		if minimal {
			c.Response().Header()["Preference-Applied"] = []string{wire.ReturnMinimal}
		}
		return minimal
	}
	return false
}

// Accepts says whether the Accept header names a format.
func Accepts(r *http.Request, format string) bool {
	return strings.Contains(listed(r.Header, "Accept"), format)
}
