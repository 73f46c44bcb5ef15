package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func problem(status int, kind, title, detail string) *wire.Problem {
	return &wire.Problem{Type: wire.TypePrefix + kind, Title: title, Status: status, Detail: detail}
}

func invalidField(field, rule string) error { return domain.InvalidField{Field: field, Rule: rule} }

// problemOf is the one table that turns errors into HTTP.
func problemOf(err error) *wire.Problem {
	var (
		own       *wire.Problem
		field     domain.InvalidField
		unknown   domain.UnknownInstance
		webhook   domain.UnknownWebhook
		lapsed    domain.LeaseLapsed
		stale     domain.StaleEpoch
		mismatch  domain.RevisionMismatch
		tooLarge  *http.MaxBytesError
		fromEcho  *echo.HTTPError
		malformed *json.SyntaxError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &field):
		p := problem(http.StatusUnprocessableEntity, "invalid-field", "A field breaks a rule", field.Error())
		p.Field, p.Rule = field.Field, field.Rule
		return p
	case errors.As(err, &unknown):
		return problem(http.StatusNotFound, "unknown-instance", "The instance is not registered", err.Error())
	case errors.As(err, &webhook):
		return problem(http.StatusNotFound, "unknown-webhook", "The webhook does not exist", err.Error())
	case errors.As(err, &lapsed):
		return problem(http.StatusNotFound, "lease-expired", "The instance's lease has expired", err.Error())
	case errors.As(err, &stale):
		return problem(http.StatusConflict, "stale-epoch", "The instance has registered again since", err.Error())
	case errors.As(err, &mismatch):
		p := problem(http.StatusPreconditionFailed, "revision-mismatch", "The instance is at another revision", err.Error())
		p.Revision = fmt.Sprint(mismatch.Actual)
		return p
	case errors.Is(err, commands.ErrContended):
		return problem(http.StatusConflict, "contended", "Others keep changing the instance", err.Error())
	case errors.Is(err, eventstore.ErrReadOnly):
		return problem(http.StatusServiceUnavailable, "read-only", "The event store takes no appends", err.Error())
	case errors.Is(err, eventstore.ErrDiskFull):
		return problem(http.StatusInsufficientStorage, "disk-full", "The disk is nearly full", "the event store takes no appends until its disk has more room; queries go on")
	case errors.Is(err, eventstore.ErrUnavailable):
		return problem(http.StatusServiceUnavailable, "store-unavailable", "The event store cannot be reached", "the event store cannot be reached; the outcome of a command is unknown: ask for it before sending the command again")
	case errors.Is(err, eventstore.ErrAccessDenied):
		return problem(http.StatusServiceUnavailable, "store-denied", "The event store denies access", "the event store does not let this registry in; its log says more")
	case errors.Is(err, eventstore.ErrClosed):
		return problem(http.StatusServiceUnavailable, "stopping", "The registry is shutting down", err.Error())
	case errors.Is(err, eventstore.ErrTooLarge):
		return problem(http.StatusRequestEntityTooLarge, "too-large", "The request is too large", err.Error())
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "too-large", "The request is too large", fmt.Sprintf("body must be at most %d bytes", tooLarge.Limit))
	case errors.As(err, &malformed):
		return problem(http.StatusBadRequest, "invalid-json", "The body is not JSON", fmt.Sprintf("%v, at byte %d", err, malformed.Offset))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem(http.StatusServiceUnavailable, "timeout", "The request took too long", "the outcome is unknown: ask for it before sending the command again")
	case errors.As(err, &fromEcho):
		return routeProblem(fromEcho)
	}
	return problem(http.StatusInternalServerError, "internal", "Something is wrong in the registry", "an unexpected error happened; the registry's log says which, under this request id")
}

// routeProblem is for what the router refuses.
func routeProblem(err *echo.HTTPError) *wire.Problem {
	switch err.Code {
	case http.StatusNotFound:
		return problem(err.Code, "no-such-route", "There is nothing at this path", "see /openapi.yaml for the paths there are")
	case http.StatusMethodNotAllowed:
		return problem(err.Code, "method-not-allowed", "The path does not take this method", "see /openapi.yaml for the methods it takes")
	}
	return problem(err.Code, "http", http.StatusText(err.Code), fmt.Sprint(err.Message))
}

// fail answers with a problem.
func (a *api) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		a.Logger.Error("request failed", "method", c.Request().Method, "path", c.Request().URL.Path, "request_id", requestID(c), "cause", err)
	}
	shown := *p
	shown.RequestID = requestID(c)
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		c.Response().Header().Set("Retry-After", "1")
	}
	body, err := json.Marshal(shown)
	if err != nil {
		body = []byte(`{}`)
	}
	_ = c.Blob(p.Status, "application/problem+json", body) // the client may be gone
}
