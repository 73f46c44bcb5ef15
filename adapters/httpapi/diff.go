package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/queries"
)

// diff compares the catalogs at two moments. The later moment is now if the request names none.
func (a *api) diff(c echo.Context) error {
	d, err := a.Queries.Diff(c.Request().Context(), queries.DiffQuery{
		From: c.QueryParam("from"), To: c.QueryParam("to"), Limit: c.QueryParam("limit"), Cursor: c.QueryParam("cursor"),
	})
	if err != nil {
		return err
	}
	a.setPosition(c, d.To.Position.Number)
	return c.JSON(http.StatusOK, d)
}
