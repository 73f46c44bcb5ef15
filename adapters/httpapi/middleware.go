package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Header names of our own.
const (
	headerPosition = "Rollcall-Position"
	headerWarning  = "Rollcall-Warning"
	headerLag      = "Rollcall-Lag"
	headerVia      = "Rollcall-Via"
)

// tellLag is how far behind the event store a node may be before its replies say so.
const tellLag = 3 * time.Second

// viaHTTP is how commands come that say nothing else.
const viaHTTP = "http"

// positioned gives every reply the catalog's position, and warnings.
func (a *api) positioned(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		a.setPosition(c, a.Registry.Position())
		if lag := a.Registry.LagTime(); lag > tellLag || a.Registry.Stale() {
			h.Set(headerLag, strconv.FormatFloat(lag.Seconds(), 'f', 1, 64))
			h.Add(headerWarning, "stale: this node is behind the event store or cannot reach it")
		}
		if on, _ := a.Registry.SelfPreservation(); on {
			h.Add(headerWarning, "self-preservation: many leases lapsed at once; instances are kept that may be gone")
		}
		return next(c)
	}
}

func (a *api) setPosition(c echo.Context, p eventstore.Position) {
	c.Response().Header()[headerPosition] = []string{positionText(p)}
}

func positionText(p eventstore.Position) string { return strconv.FormatUint(uint64(p), 10) }

func timeout(c echo.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), d)
}

func requestID(c echo.Context) string { return web.RequestID(c) }

func problem(status int, kind, title, detail string) *wire.Problem {
	return web.NewProblem(status, kind, title, detail)
}

func invalidField(field, rule string) error { return domain.InvalidField{Field: field, Rule: rule} }

// afterOwnWrites makes a query with ?after=<position> wait until the catalog has got there.
func (a *api) afterOwnWrites(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		after := c.QueryParam("after")
		if after == "" {
			return next(c)
		}
		position, err := parsePosition("after", after)
		if err != nil {
			return err
		}
		ctx, cancel := timeout(c, afterTimeout)
		defer cancel()
		if err := a.Registry.WaitFor(ctx, position); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return problem(http.StatusGatewayTimeout, "projection-behind", "The catalog is not there yet",
					fmt.Sprintf("the catalog is at position %d and did not reach %d within %s", a.Registry.Position(), position, afterTimeout))
			}
			return err
		}
		a.setPosition(c, a.Registry.Position())
		return next(c)
	}
}

func parsePosition(field, s string) (eventstore.Position, error) {
	p, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, invalidField(field, "must be a position: a whole number as replies give it")
	}
	return eventstore.Position(p), nil
}

// caller is on whose behalf the request's commands are carried out.
func caller(c echo.Context) commands.Caller {
	via := viaHTTP
	if c.Request().Header.Get(headerVia) == "cli" {
		via = "cli"
	}
	return commands.Caller{Actor: domain.Anonymous, Source: sourceOf(c.Request().RemoteAddr), Via: via, RequestID: requestID(c)}
}

// sourceOf is a client's address without its port.
func sourceOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// patience lets a reply take longer than the server's write timeout.
func patience(c echo.Context, d time.Duration) {
	// A writer without deadlines (a test's recorder) has no timeout to extend.
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(d))
}
