package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// healthz answers as long as the process can.
func (a *api) healthz(c echo.Context) error {
	return c.JSONBlob(http.StatusOK, []byte(`{"status":"ok"}`))
}

// readyz says whether this node should get requests.
func (a *api) readyz(c echo.Context) error {
	if err := a.Ready(); err != nil {
		return problem(http.StatusServiceUnavailable, "not-ready", "The registry is not ready", err.Error())
	}
	return c.JSONBlob(http.StatusOK, []byte(`{"status":"ready"}`))
}

// status says how this node is. It is answered under any load, and whatever the event store does.
func (a *api) status(c echo.Context) error {
	return c.JSON(http.StatusOK, a.Queries.Status(c.Request().Context()))
}

func (a *api) openapi(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", a.OpenAPI)
}

func (a *api) index(c echo.Context) error {
	return c.String(http.StatusOK, "Rollcall "+a.Version+", a service registry that remembers.\n\n"+
		"  GET /v1/services                          what is registered\n"+
		"  GET /v1/services/{service}/instances      where it is\n"+
		"  GET /openapi.yaml                         everything else\n")
}
