package httpapi

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func (a *api) services(c echo.Context) error {
	ns := namespace(c)
	if ns == "*" {
		ns = ""
	} else if err := domain.ValidateLabel("ns", ns); err != nil {
		return err
	}
	if err := a.waitForChange(c, domain.ServiceKey{}, func() eventstore.Position { return a.Registry.Catalog().Changed() }); err != nil {
		return err
	}
	shown, _, err := a.catalogAt(c)
	if err != nil {
		return err
	}
	body, err := json.Marshal(wire.ServiceList{Position: wire.Position{Number: shown.Changed()}, Services: queries.Services(shown, ns)})
	if err != nil {
		return err
	}
	return answer(c, encoded.Tagged(body))
}

func (a *api) service(c echo.Context) error {
	view, err := a.view(c)
	if err != nil {
		return err
	}
	if len(view.Entries) == 0 {
		return problem(http.StatusNotFound, "unknown-service", "The service has no instances", "service "+view.Service.String()+" has no registered instance")
	}
	body, err := json.Marshal(queries.Service(view))
	if err != nil {
		return err
	}
	return answer(c, encoded.Tagged(body))
}

func (a *api) instances(c echo.Context) error {
	filter, withLeases, err := instanceFilter(c)
	if err != nil {
		return err
	}
	view, err := a.view(c)
	if err != nil {
		return err
	}
	var table *leases.Table
	if withLeases && c.QueryParam("at") == "" { // of the past no leases are known
		table = a.Registry.Leases()
	}
	return answer(c, queries.Instances(view, filter, table))
}

// view is the service that the path names, after it changed if the request waits for that.
func (a *api) view(c echo.Context) (*catalog.View, error) {
	key, err := serviceKey(c)
	if err != nil {
		return nil, err
	}
	err = a.waitForChange(c, key, func() eventstore.Position { return a.Registry.Catalog().View(key).Position })
	if err != nil {
		return nil, err
	}
	shown, _, err := a.catalogAt(c)
	if err != nil {
		return nil, err
	}
	return shown.View(key), nil
}

func (a *api) instance(c echo.Context) error {
	key, err := checkedKey(c)
	if err != nil {
		return err
	}
	shown, at, err := a.catalogAt(c)
	if err != nil {
		return err
	}
	entry := shown.Find(key)
	table := a.Registry.Leases()
	if at != nil {
		table = nil
	}
	switch {
	case entry != nil:
	case at == nil:
		return a.gone(c, key, 0)
	case at.early:
		return domain.UnknownInstance{Key: key}
	default:
		return a.gone(c, key, at.position)
	}
	tag := `"` + strconv.FormatUint(entry.Revision(), 10) + `"`
	body, err := json.Marshal(queries.Show(entry, table))
	if err != nil {
		return err
	}
	return answer(c, encoded.Form{Bytes: body, ETag: tag})
}

// answer sends an encoded reply, or 304 when the client has it already.
func answer(c echo.Context, e encoded.Form) error {
	h := c.Response().Header()
	h["Etag"] = []string{e.ETag}
	if match := c.Request().Header.Get("If-None-Match"); match != "" && matches(match, e.ETag) {
		return c.NoContent(http.StatusNotModified)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(e.Bytes))} // else a long reply goes in chunks
	return c.JSONBlob(http.StatusOK, e.Bytes)
}

// matches compares weakly, as If-None-Match does (RFC 9110 13.1.2).
func matches(header, tag string) bool {
	if header == "*" {
		return true
	}
	for candidate := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(candidate), "W/") == tag {
			return true
		}
	}
	return false
}

// waitForChange holds a request with ?wait= until the position is no longer ?index=, the wait is
// over, or the server stops. It asks for the position after it began to watch, so that no change
// falls between two polls.
func (a *api) waitForChange(c echo.Context, key domain.ServiceKey, position func() eventstore.Position) error {
	waits, indexes := c.QueryParam("wait"), c.QueryParam("index")
	if indexes == "" && waits == "" {
		return nil
	}
	if c.QueryParam("at") != "" {
		return invalidField("at", "must not be used with wait or index: the past does not change")
	}
	index, err := parsePosition("index", indexes)
	if err != nil {
		return err
	}
	wait := MaxWait
	if waits != "" {
		if wait, err = time.ParseDuration(waits); err != nil || wait < 0 || wait > MaxWait {
			return invalidField("wait", "must be a duration from 0s to "+MaxWait.String())
		}
	}
	wait += rand.N(wait/16 + 1) // so that those who ask together do not come back together
	changed, stop := a.Registry.Feed().Watch(key)
	defer stop()
	patience(c, wait+time.Minute)
	ctx, cancel := context.WithTimeout(c.Request().Context(), wait)
	defer cancel()
	for position() == index {
		select {
		case <-changed:
		case <-ctx.Done():
			return c.Request().Context().Err()
		case <-a.Stopping.Done():
			return nil
		}
	}
	a.setPosition(c, a.Registry.Position())
	return nil
}

// instanceFilter reads status, tag, zone, version, meta.<key>, ready and leases.
func instanceFilter(c echo.Context) (f queries.InstanceFilter, withLeases bool, err error) {
	if c.Request().URL.RawQuery == "" {
		return f, false, nil
	}
	for name, values := range c.QueryParams() {
		switch name {
		case "ns", "after", "index", "wait", "at":
		case "from":
			if !strings.HasPrefix(c.Path(), "/v1/streams/") {
				return f, false, invalidField(name, "is not a known filter")
			}
		case "status":
			for _, v := range values {
				for s := range strings.SplitSeq(v, ",") {
					status := domain.Status(s)
					if status != domain.Starting && status != domain.Passing && status != domain.Warning && status != domain.Critical {
						return f, false, invalidField("status", "must be starting, passing, warning or critical")
					}
					f.Statuses = append(f.Statuses, status)
				}
			}
		case "tag":
			f.Tags = values
		case "zone":
			f.Zone = values[0]
		case "version":
			f.Version = values[0]
		case "ready":
			if f.Ready, err = parseBool("ready", values[0]); err != nil {
				return f, false, err
			}
		case "leases":
			if withLeases, err = parseBool("leases", values[0]); err != nil {
				return f, false, err
			}
		default:
			key, ok := strings.CutPrefix(name, "meta.")
			if !ok {
				return f, false, invalidField(name, "is not a known filter")
			}
			if f.Metadata == nil {
				f.Metadata = map[string]string{}
			}
			f.Metadata[key] = values[0]
		}
	}
	return f, withLeases, nil
}

func parseBool(field, s string) (bool, error) {
	switch s {
	case "true", "1", "":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, invalidField(field, "must be true or false")
}
