package httpapi

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// warnOfPreservation adds a warning to the reply if expiry is held in the namespace of the request. The warning says
// since when.
func (a *api) warnOfPreservation(c echo.Context) {
	namespace := domain.DefaultNamespace
	for _, name := range []string{"ns", "namespace"} {
		if named := c.QueryParams()[name]; len(named) > 0 {
			namespace = queries.OneNamespace(named[0])
		}
	}
	if !a.Queries.SelfPreserving(namespace) {
		return
	}
	if since := a.Queries.HeldSince(namespace, visible(c)); !since.IsZero() {
		c.Response().Header().Set(headerHeld, since.Format(time.RFC3339Nano))
		c.Response().Header().Add(headerWarning, "self-preservation: many leases lapsed at once; instances are kept that may be gone")
	}
}

func (a *api) preservation(c echo.Context) error {
	namespace := chosenNamespace(c)
	if err := domain.ValidatePreservation(namespace, ""); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a.Queries.Preservation(namespace, visible(c)))
}

// changePreservation holds expiry in a namespace, or lets expiry go on.
func (a *api) changePreservation(c echo.Context) error {
	var body wire.PreservationChange
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	if body.Held == nil {
		return invalidField("held", "must be true or false")
	}
	namespace := queries.OneNamespace(namespace(c))
	change := a.PreservationCommands.End
	if *body.Held {
		change = a.PreservationCommands.Hold
	}
	if err := change(c.Request().Context(), caller(c), namespace, body.Reason); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a.Queries.Preservation(namespace, nil))
}
