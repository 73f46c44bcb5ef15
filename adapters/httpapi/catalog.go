package httpapi

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func (a *api) services(c echo.Context) error {
	page, err := listPage(c, "services", namespace(c))
	if err != nil {
		return err
	}
	shown, err := a.catalogOf(c, domain.ServiceKey{}, page)
	if err != nil {
		return err
	}
	list, err := shown.ServicesPage(c.Request().Context(), namespace(c), page)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (a *api) namespaces(c echo.Context) error {
	shown, err := a.catalog(c, domain.ServiceKey{})
	if err != nil {
		return err
	}
	list, err := shown.Namespaces(c.Request().Context())
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (a *api) service(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	shown, err := a.catalog(c, key)
	if err != nil {
		return err
	}
	summary, err := shown.Service(key)
	if err != nil {
		return err
	}
	return answerJSON(c, summary)
}

func (a *api) instances(c echo.Context) error {
	key, err := serviceKey(c)
	if err != nil {
		return err
	}
	filter, withLeases, err := instanceFilter(c)
	if err != nil {
		return err
	}
	if err := filter.CheckSilence(c.QueryParams()); err != nil {
		return err
	}
	page, err := listPage(c, "instances", key.String(), filter.Text())
	if err != nil {
		return err
	}
	shown, err := a.catalogOf(c, key, page)
	if err != nil {
		return err
	}
	if filter.Ready {
		warnOfPanics(c, shown.PanicsOf(key))
	}
	list, err := shown.InstancesPage(c.Request().Context(), key, filter, withLeases, page)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (a *api) instance(c echo.Context) error {
	key, err := checkedKey(c)
	if err != nil {
		return err
	}
	shown, err := a.catalog(c, domain.ServiceKey{})
	if err != nil {
		return err
	}
	shown.Secrets = secrets(c)
	instance, err := shown.Instance(c.Request().Context(), key)
	if err != nil {
		return err
	}
	body, err := json.Marshal(instance)
	if err != nil {
		return err
	}
	return web.AnswerRevision(c, body, `"`+strconv.FormatUint(instance.Revision, 10)+`"`)
}

// everything is the whole catalog, now or at a moment.
func (a *api) everything(c echo.Context) error {
	filter, _, err := instanceFilter(c)
	if err != nil {
		return err
	}
	if err := filter.CheckSilence(c.QueryParams()); err != nil {
		return err
	}
	page, err := listPage(c, "catalog", chosenNamespace(c), filter.Text())
	if err != nil {
		return err
	}
	shown, err := a.catalogOf(c, domain.ServiceKey{}, page)
	if err != nil {
		return err
	}
	if filter.Ready {
		warnOfPanics(c, shown.Panics(chosenNamespace(c), ""))
	}
	all, err := shown.EverythingPage(c.Request().Context(), chosenNamespace(c), filter, page)
	if err != nil {
		return err
	}
	return answer(c, all)
}

// warnOfPanics says that lookups of ready instances give all instances of services.
func warnOfPanics(c echo.Context, all []wire.ServicePanic) {
	if len(all) == 0 {
		return
	}
	h := c.Response().Header()
	h.Set(wire.HeaderPanic, queries.PanicNames(all))
	h.Add(headerWarning, queries.PanicWarning(all))
}

// catalog is the catalog that the request asks about: the catalog at the moment ?at=, or the live catalog. A request
// with ?index= waits first until the service (the zero key: any service) has changed.
func (a *api) catalog(c echo.Context, key domain.ServiceKey) (*queries.Catalog, error) {
	return a.catalogOf(c, key, nil)
}

// listPage reads the page that the request asks for; nil: the whole list. The list is told from others by its scope, and by
// the moment.
func listPage(c echo.Context, scope ...string) (*queries.ListPage, error) {
	if c.Request().URL.RawQuery == "" {
		return nil, nil
	}
	if c.QueryParam("cursor") != "" && (c.QueryParam("wait") != "" || c.QueryParam("index") != "") {
		return nil, invalidField("cursor", "must not be used with wait or index: a page goes on where the page before ended")
	}
	return queries.ParseListPage(c.QueryParam("limit"), c.QueryParam("cursor"), append(scope, c.QueryParam("at"))...)
}

// catalogOf is catalog for a page of a list.
func (a *api) catalogOf(c echo.Context, key domain.ServiceKey, page *queries.ListPage) (*queries.Catalog, error) {
	at := ""
	if c.Request().URL.RawQuery != "" {
		at = c.QueryParam("at")
		if err := a.await(c, key, at); err != nil {
			return nil, err
		}
	}
	if page != nil && page.At != "" {
		at = page.At
	}
	if at != "" {
		if err := a.pastTurns.Switch(c); err != nil {
			return nil, err
		}
	}
	shown, err := a.Queries.Catalog(c.Request().Context(), at)
	if err != nil {
		return nil, err
	}
	shown.Visible = visible(c)
	if shown.Heavy(key) {
		web.Leave(c) // the encoding of a large reply has turns of its own
	}
	if shown.Live {
		return shown, nil
	}
	a.setPosition(c, shown.Moment.Position)
	if shown.Moment.Early {
		c.Response().Header().Set(headerWarning, "before-first-event: nothing had been registered yet")
	}
	return shown, nil
}

// await waits, for a request with ?index=, until the service's position is not ?index= any more, the wait is over, or the
// server stops.
func (a *api) await(c echo.Context, key domain.ServiceKey, at string) error {
	if query := c.QueryParams(); at != "" && (query.Has("index") || query.Has("wait")) {
		return invalidField("at", "must not be used with wait or index: the past does not change")
	}
	w, err := queries.ParseWait(c.QueryParam("index"), c.QueryParam("wait"))
	if w == nil || err != nil {
		return err
	}
	extendWriteDeadline(c, w.Longest()+time.Minute)
	web.Pause(c)
	if err := a.Queries.Await(c.Request().Context(), key, w); err != nil {
		return err
	}
	if err := errors.Join(a.polledTurns.Switch(c), a.still(c)); err != nil {
		return err
	}
	a.setPosition(c, a.Queries.Position())
	return nil
}

// instanceFilter reads the filters of instances, and the parameter leases.
func instanceFilter(c echo.Context) (f queries.InstanceFilter, withLeases bool, err error) {
	if c.Request().URL.RawQuery == "" {
		return f, false, nil
	}
	values := c.QueryParams()
	f, err = queries.ParseInstanceFilter(values, "ns", "after", "index", "wait", "at", "from", "leases", "limit", "cursor")
	if err != nil {
		return f, false, err
	}
	if values.Has("leases") {
		withLeases, err = queries.ParseBool("leases", values.Get("leases"))
	}
	return f, withLeases, err
}

// answerJSON sends a value in JSON, tagged by its content.
func answerJSON(c echo.Context, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return answer(c, encoded.Tagged(body))
}

// answer sends an encoded reply, or 304 if the client has the reply already.
func answer(c echo.Context, e encoded.Form) error { return web.AnswerTagged(c, e.Bytes, e.ETag) }
