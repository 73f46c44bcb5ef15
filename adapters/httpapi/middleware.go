package httpapi

import (
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
		a.setPosition(c, a.Queries.Position())
		if lag, stale := a.Queries.Lag(); lag > tellLag || stale {
			h.Set(headerLag, strconv.FormatFloat(lag.Seconds(), 'f', 1, 64))
			h.Add(headerWarning, "stale: this node is behind the event store or cannot reach it")
		}
		a.warnOfPreservation(c)
		return next(c)
	}
}

func (a *api) setPosition(c echo.Context, p eventstore.Position) {
	c.Response().Header()[headerPosition] = []string{a.Queries.At(p).String()}
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
		position, err := wire.ParsePosition("after", after)
		if err != nil {
			return err
		}
		resume := web.Pause(c)
		if err := a.Queries.After(c.Request().Context(), position); err != nil {
			return err
		}
		if err := resume(); err != nil {
			return err
		}
		a.setPosition(c, a.Queries.Position())
		return next(c)
	}
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
