package httpapi

import (
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries"
)

func (a *api) allHistory(c echo.Context) error {
	return a.historyOf(c, queries.HistoryQuery{Selection: queries.Selection{Namespace: chosenNamespace(c)}})
}

func (a *api) serviceHistory(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	return a.historyOf(c, queries.HistoryQuery{Selection: queries.Selection{Namespace: key.Namespace, Service: key.Service}})
}

func (a *api) instanceHistory(c echo.Context) error {
	key, err := checkedKey(c)
	if err != nil {
		return err
	}
	return a.historyOf(c, queries.HistoryQuery{Selection: queries.Selection{Namespace: key.Namespace, Service: key.Service, Instance: key.ID}})
}

// historyParameters are the parameters that historyOf reads.
var historyParameters = []string{"after", "from", "to", "actor", "type+", "via", "reason", "order", "limit", "cursor"}

// historyOf answers with a page of the history. q has the selection of the route, and historyOf adds the parameters.
func (a *api) historyOf(c echo.Context, q queries.HistoryQuery) error {
	for _, name := range []string{"actor", "via", "reason"} {
		if c.QueryParams().Has(name) && c.QueryParam(name) == "" {
			return domain.InvalidField{Field: name, Rule: "must not be empty"} // it would filter nothing
		}
	}
	q.From, q.To, q.Order, q.Limit, q.Cursor = c.QueryParam("from"), c.QueryParam("to"), c.QueryParam("order"), c.QueryParam("limit"), c.QueryParam("cursor")
	q.Actor, q.Via, q.Reason = c.QueryParam("actor"), c.QueryParam("via"), c.QueryParam("reason")
	for _, types := range c.QueryParams()["type"] {
		q.Types = append(q.Types, strings.Split(types, ",")...)
	}
	q.Visible, q.Secrets = visible(c), secrets(c)
	page, err := a.Queries.HistoryPage(c.Request().Context(), q)
	if err != nil {
		return err
	}
	body, err := page.AppendJSON(nil)
	if err != nil {
		return err
	}
	return answer(c, encoded.Tagged(body))
}
