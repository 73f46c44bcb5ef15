package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/catalog"
)

// moment is a place in the past, as a client names it: a time (RFC 3339), a position, "5m ago" or
// "now".
type moment struct {
	position eventstore.Position // of the newest event that had happened
	time     time.Time           // zero when a position was named
	early    bool                // it is before the first event
}

// parseMoment finds what a client means. A time takes in every event recorded up to it.
func (a *api) parseMoment(c echo.Context, field, s string) (m moment, err error) {
	head, err := a.Store.Head(c.Request().Context())
	if err != nil {
		return m, err
	}
	if p, err := strconv.ParseUint(s, 10, 64); err == nil {
		if m.position = eventstore.Position(p); m.position > head {
			return m, invalidField(field, fmt.Sprintf("must be a position that was assigned; the newest is %d", head))
		}
		m.early = m.position == 0
		return m, nil
	}
	now := a.Now()
	if m.time, err = parseTime(field, s, now); err != nil {
		return m, err
	}
	if m.time.After(now) {
		return m, invalidField(field, "must not be in the future")
	}
	if err := a.historyUpToDate(c); err != nil {
		return m, err
	}
	if m.position, err = a.History.PositionAt(c.Request().Context(), m.time); err != nil {
		return m, err
	}
	m.early = m.position == 0
	return m, nil
}

func parseTime(field, s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if ago, ok := strings.CutSuffix(s, " ago"); ok {
		if d, err := time.ParseDuration(strings.ReplaceAll(ago, " ", "")); err == nil && d >= 0 {
			return now.Add(-d), nil
		}
	}
	// A + that was not escaped arrives as a space.
	if t, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1)); err == nil {
		return t, nil
	}
	return time.Time{}, invalidField(field, `must be an RFC 3339 time, a position, "5m ago" or "now"`)
}

// catalogAt is the catalog that the request asks about: that of ?at=, or the live one.
func (a *api) catalogAt(c echo.Context) (*catalog.Catalog, *moment, error) {
	at := c.QueryParam("at")
	if at == "" {
		return a.Registry.Catalog(), nil, nil
	}
	m, err := a.parseMoment(c, "at", at)
	if err != nil {
		return nil, nil, err
	}
	past, err := a.Past.At(c.Request().Context(), m.position)
	if err != nil {
		return nil, nil, err
	}
	a.setPosition(c, m.position)
	if m.early {
		c.Response().Header().Set(headerWarning, "before-first-event: nothing had been registered yet")
	}
	return past, &m, nil
}

// historyUpToDate waits until the history shows what the catalog shows.
func (a *api) historyUpToDate(c echo.Context) error {
	target := a.Registry.Position()
	if a.History.Position() >= target {
		return nil
	}
	ctx, cancel := timeout(c, afterTimeout)
	defer cancel()
	if err := a.History.WaitFor(ctx, target); err != nil {
		return problem(http.StatusGatewayTimeout, "projection-behind", "The history is not there yet",
			fmt.Sprintf("the history is at position %d and did not reach %d within %s", a.History.Position(), target, afterTimeout))
	}
	return nil
}
