package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/encoded"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// place is the moment as replies name it.
func (m *moment) place() wire.Place {
	p := wire.Place{Position: wire.Position{Number: m.position}}
	if !m.time.IsZero() {
		t := m.time.UTC()
		p.Time = &t
	}
	if m.early {
		p.Note = "before the first event: nothing had been registered yet"
	}
	return p
}

// everything is the whole catalog, now or at a moment.
func (a *api) everything(c echo.Context) error {
	ns := c.QueryParam("ns")
	if ns != "" {
		if err := domain.ValidateLabel("ns", ns); err != nil {
			return err
		}
	}
	m := &moment{position: a.Registry.Position()}
	shown, at, err := a.catalogAt(c)
	if err != nil {
		return err
	}
	if at != nil {
		m = at
	}
	body, err := json.Marshal(wire.Catalog{Place: m.place(), Services: queries.Everything(shown, ns)})
	if err != nil {
		return err
	}
	return answer(c, encoded.Tagged(body))
}

// diff compares two moments; the later one is now unless it is named.
func (a *api) diff(c echo.Context) error {
	if err := a.historyUpToDate(c); err != nil {
		return err
	}
	var moments [2]moment
	var catalogs [2]*catalog.Catalog
	for i, name := range []string{"from", "to"} {
		s := c.QueryParam(name)
		if s == "" && name == "from" {
			return invalidField("from", `is needed: an RFC 3339 time, a position, or "5m ago"`)
		}
		if s == "" {
			s = "now"
		}
		var err error
		if moments[i], err = a.parseMoment(c, name, s); err != nil {
			return err
		}
		if catalogs[i], err = a.Past.At(c.Request().Context(), moments[i].position); err != nil {
			return err
		}
	}
	if moments[0].after(&moments[1]) {
		return invalidField("from", "must not be after to")
	}
	d, err := queries.Diff(c.Request().Context(), catalogs[0], catalogs[1], moments[1].position, a.History)
	if err != nil {
		return err
	}
	a.setPosition(c, moments[1].position)
	return c.JSON(http.StatusOK, wire.Diff{From: moments[0].place(), To: moments[1].place(), Difference: d})
}
