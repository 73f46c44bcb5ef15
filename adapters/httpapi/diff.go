package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/queries"
)

// diff compares the catalogs at two moments. The later moment is now if the request names none.
func (a *api) diff(c echo.Context) error {
	d, err := a.Queries.Diff(c.Request().Context(), queries.DiffQuery{
		Namespace: chosenNamespace(c), From: c.QueryParam("from"), To: c.QueryParam("to"), Limit: c.QueryParam("limit"), Cursor: c.QueryParam("cursor"),
	})
	if err != nil {
		return err
	}
	a.setPosition(c, d.To.Position.Number)
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return web.AnswerJSON(c, http.StatusOK, body)
}
