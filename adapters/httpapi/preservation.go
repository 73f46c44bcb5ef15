package httpapi

import (
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
)

// warnOfPreservation says in the reply that expiry is held in the namespace that the request is about.
func (a *api) warnOfPreservation(c echo.Context) {
	namespace := domain.DefaultNamespace
	if named := c.QueryParams()["ns"]; len(named) > 0 {
		namespace = strings.TrimPrefix(named[0], "*")
	}
	if a.Queries.SelfPreserving(namespace) {
		c.Response().Header().Add(headerWarning, "self-preservation: many leases lapsed at once; instances are kept that may be gone")
	}
}
