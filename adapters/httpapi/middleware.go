package httpapi

import (
	"net/http"
	"strconv"
	"strings"
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
	headerHeld     = "Rollcall-Expiry-Held"
	headerLag      = "Rollcall-Lag"
	headerVia      = "Rollcall-Via"
)

// once refuses two of a header that has one value. Authorization and Origin are refused where they are read, and Accept and If-None-Match
// are lists.
var once = web.Once("Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "Rollcall-Via", "X-Request-Id")

// conditions refuses the conditions of a change where nothing is compared with them: a client that sends one means that nothing is changed
// unless it holds. Only instances have revisions. What a GET does with If-None-Match is the handler's.
func conditions(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if again(c) == "" || strings.HasPrefix(c.Path(), "/v1/services/:service/instances") { // see withPreconditions
			return next(c)
		}
		for _, name := range []string{"If-Match", "If-None-Match"} {
			if len(c.Request().Header.Values(name)) > 0 {
				return invalidField(name, "must be left out: nothing is compared with it here")
			}
		}
		return next(c)
	}
}

// warnFromLag is the lag behind the event store from which on a node's replies carry a warning.
const warnFromLag = 3 * time.Second

// positioned sets the catalog's position and the warnings in the headers of every reply.
func (a *api) positioned(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		a.setPosition(c, a.Queries.Position())
		if lag, stale := a.Queries.Lag(); lag > warnFromLag || stale {
			h.Set(headerLag, strconv.FormatFloat(lag.Seconds(), 'f', 1, 64))
			h.Add(headerWarning, "stale: this node is behind the event store or cannot reach it")
		}
		a.warnOfPreservation(c)
		if method := c.Request().Method; method != http.MethodGet && method != http.MethodHead {
			c.Response().Before(func() { a.coverChange(c) })
		}
		return next(c)
	}
}

// coverChange lets the position of a reply to a change be that of the change's events at least, and of the events because of
// which the change was refused or found done. Webhooks, tokens and policies have states of their own, which may be ahead of the
// catalog.
func (a *api) coverChange(c echo.Context) {
	newest := max(a.Queries.Position(), a.Webhooks.Position(), a.Policies.Position())
	if a.Tokens != nil {
		newest = max(newest, a.Tokens.Position())
	}
	told, err := wire.ParsePosition(headerPosition, c.Response().Header()[headerPosition][0])
	if err == nil && told.Number < newest {
		a.setPosition(c, newest)
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

// afterOwnWrites lets a query with ?after=<position> wait until the catalog has reached the position.
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

// caller is the caller of the request's commands.
func caller(c echo.Context) commands.Caller {
	who := web.IdentityOf(c)
	return commands.Caller{Actor: who.Name, Source: web.SourceOf(c.Request().RemoteAddr), Via: viaOf(who, c.Request().Header.Get(headerVia)), RequestID: requestID(c), Keyed: keyedOf(c)}
}

// viaOf is the way by which a command comes, whose header says it.
func viaOf(who *web.Identity, asked string) string {
	switch asked {
	case domain.ViaCLI, domain.ViaConsul: // the command line and the agent, and the import from Consul
		if who.MaySomewhere(domain.Operate) == nil {
			return asked
		}
	}
	return domain.ViaHTTP
}

// extendWriteDeadline gives the reply the time d from now on, in place of the server's write timeout.
func extendWriteDeadline(c echo.Context, d time.Duration) {
	// A writer without deadlines (a test's recorder) has no write timeout, and returns an error.
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(d))
}
