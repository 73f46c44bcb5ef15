package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
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

const requestIDKey = "rollcall.request-id"

// identified gives every request an id, its own if it brought a sane one, and every reply the
// catalog's position.
func (a *api) identified(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !saneRequestID(id) {
			id = string(a.requestIDs.append(nil))
		}
		c.Set(requestIDKey, id)
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, id)
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

// requestIDs makes ids that no other request has, here or elsewhere: what is random is drawn once, for
// every heartbeat needs one.
type requestIDs struct {
	process string // random
	made    atomic.Uint64
}

func newRequestIDs() *requestIDs {
	return &requestIDs{process: strings.ToLower(rand.Text()[:20]) + "-"} // 100 bits
}

func (r *requestIDs) append(b []byte) []byte {
	return strconv.AppendUint(append(b, r.process...), r.made.Add(1), 10)
}

// saneRequestID allows what can go into a log line and an event unescaped.
func saneRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func requestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

// recovered turns a panic into a 500 and a log entry: one bad request must not end the registry.
func (a *api) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return next(c)
	}
}

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
