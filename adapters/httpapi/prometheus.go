package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// scrapeTargets answers Prometheus' HTTP service discovery. Prometheus keeps its last list when a reply is not 200: a
// registry that is not ready says so, rather than to give an old or empty list.
func (a *api) scrapeTargets(c echo.Context) error {
	if err := a.Ready(); err != nil {
		return problem(http.StatusServiceUnavailable, "not-ready", "The registry is not ready", err.Error())
	}
	values := c.QueryParams()
	filter, err := queries.ParseInstanceFilter(values, "ns", "service", "port", "after")
	if err != nil {
		return err
	}
	for _, name := range []string{"service", "port"} {
		if values.Has(name) && values.Get(name) == "" {
			return invalidField(name, "must not be empty")
		}
	}
	shown, err := a.catalog(c, domain.ServiceKey{})
	if err != nil {
		return err
	}
	if filter.Ready {
		warnOfPanics(c, shown.Panics(queries.OneNamespace(c.QueryParam("ns")), values.Get("service")))
	}
	targets, err := shown.Targets(c.Request().Context(), queries.TargetQuery{
		Namespace: c.QueryParam("ns"), Service: values.Get("service"), Port: values.Get("port"), Filter: filter,
	})
	if err != nil {
		return err
	}
	return answer(c, targets)
}
