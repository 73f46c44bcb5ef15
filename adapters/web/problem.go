package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// NewProblem makes an error that is answered as a problem of the kind.
func NewProblem(status int, kind, title, detail string) *wire.Problem {
	return &wire.Problem{Type: wire.TypePrefix + kind, Title: title, Status: status, Detail: detail}
}

// ProblemOf gives the problem of an error. It is the only table from errors to HTTP.
func ProblemOf(err error) *wire.Problem {
	var (
		own        *wire.Problem
		field      domain.InvalidField
		unknown    domain.UnknownInstance
		noCheck    domain.UnknownCheck
		webhook    domain.UnknownWebhook
		service    queries.UnknownService
		gone       queries.Gone
		behind     queries.Behind
		timeline   eventstore.OtherTimeline
		past       *history.Unavailable
		overloaded queries.Overloaded
		lapsed     domain.LeaseLapsed
		stale      domain.StaleEpoch
		other      domain.OtherOwner
		exists     domain.AlreadyLive
		nothing    domain.NothingToMatch
		mismatch   domain.RevisionMismatch
		tooLarge   *http.MaxBytesError
		forbidden  domain.Forbidden
		exceeded   LimitExceeded
		notHeld    domain.NotHeld
		token      domain.UnknownToken
		role       domain.UnknownRole
		policy     domain.UnknownPolicy
		guarded    domain.Guarded
		taken      domain.Taken
		inUse      domain.RoleInUse
		noCluster  domain.NoCluster
		noMember   domain.UnknownMember
		noChange   domain.MemberRefused
		fromEcho   *echo.HTTPError
		malformed  *json.SyntaxError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &field):
		p := NewProblem(http.StatusUnprocessableEntity, "invalid-field", "A field breaks a rule", field.Error())
		p.Field, p.Rule = field.Field, field.Rule
		return p
	case errors.As(err, &unknown):
		return NewProblem(http.StatusNotFound, "unknown-instance", "The instance is not registered", err.Error())
	case errors.As(err, &noCheck):
		return NewProblem(http.StatusNotFound, "unknown-check", "The instance has no such check", err.Error())
	case errors.As(err, &webhook):
		return NewProblem(http.StatusNotFound, "unknown-webhook", "The webhook does not exist", err.Error())
	case errors.As(err, &forbidden):
		p := NewProblem(http.StatusForbidden, "forbidden", "The caller lacks a right", err.Error())
		p.Verb, p.Pattern = forbidden.Verb.String(), forbidden.Pattern()
		return p
	case errors.As(err, &exceeded):
		return NewProblem(http.StatusTooManyRequests, "too-many-requests", "The caller sends more than it may", err.Error())
	case errors.As(err, &notHeld):
		return NewProblem(http.StatusForbidden, "not-held", "The instance is another caller's", err.Error())
	case errors.As(err, &token):
		return NewProblem(http.StatusNotFound, "unknown-token", "The token does not exist", err.Error())
	case errors.As(err, &role):
		return NewProblem(http.StatusNotFound, "unknown-role", "The role does not exist", err.Error())
	case errors.As(err, &policy):
		return NewProblem(http.StatusNotFound, "unknown-policy", "The policy does not exist", err.Error())
	case errors.As(err, &guarded):
		p := NewProblem(http.StatusConflict, "guarded", "A policy keeps the instance", err.Error()+"; force with a reason goes past it")
		p.Guard = &wire.Guard{
			Policy: guarded.Policy.Name, SetBy: guarded.Policy.By, SetAt: guarded.Policy.At.UTC(), Ready: guarded.Ready, Left: guarded.Left,
			Needed: guarded.Needed, Total: guarded.Total, Removed: guarded.Removed,
		}
		return p
	case errors.As(err, &taken):
		return NewProblem(http.StatusConflict, "name-taken", "The name is taken", err.Error())
	case errors.As(err, &inUse):
		return NewProblem(http.StatusConflict, "role-in-use", "A token has the role", err.Error())
	case errors.As(err, &noCluster):
		return NewProblem(http.StatusNotFound, "no-cluster", "The registry is no cluster", err.Error())
	case errors.As(err, &noMember):
		return NewProblem(http.StatusNotFound, "unknown-member", "The cluster has no such member", err.Error())
	case errors.As(err, &noChange):
		return NewProblem(http.StatusConflict, "member-refused", "The members of the cluster stay as they are", err.Error())
	case errors.As(err, &service):
		return NewProblem(http.StatusNotFound, "unknown-service", "The service has no instances", err.Error())
	case errors.As(err, &gone):
		return goneProblem(gone)
	case errors.As(err, &behind):
		return NewProblem(http.StatusGatewayTimeout, "projection-behind", "The "+behind.Projection+" is not there yet", err.Error())
	case errors.As(err, &timeline):
		return otherTimeline(timeline)
	case errors.As(err, &lapsed):
		return NewProblem(http.StatusNotFound, "lease-expired", "The instance's lease has expired", err.Error())
	case errors.As(err, &stale):
		return NewProblem(http.StatusConflict, "stale-epoch", "Another registration of the instance is live, or none is", err.Error())
	case errors.As(err, &other):
		return NewProblem(http.StatusConflict, "other-owner", "The instance has another owner", err.Error())
	case errors.As(err, &exists):
		return NewProblem(http.StatusPreconditionFailed, "exists", "The instance is registered already", err.Error())
	case errors.As(err, &nothing):
		return NewProblem(http.StatusPreconditionFailed, "revision-mismatch", "The instance is at no revision", err.Error())
	case errors.As(err, &mismatch):
		p := NewProblem(http.StatusPreconditionFailed, "revision-mismatch", "The instance is at another revision", err.Error())
		p.Revision = fmt.Sprint(mismatch.Actual)
		return p
	case errors.As(err, &overloaded):
		return NewProblem(http.StatusServiceUnavailable, "overloaded", "The registry is overloaded", err.Error())
	case errors.As(err, &past):
		return NewProblem(http.StatusServiceUnavailable, "history-unavailable", "The history cannot be asked", err.Error()+"; commands and the catalog go on")
	case errors.Is(err, commands.ErrContended):
		return NewProblem(http.StatusConflict, "contended", "Others keep changing what the command changes", err.Error())
	case errors.Is(err, eventstore.ErrReadOnly):
		return NewProblem(http.StatusServiceUnavailable, "read-only", "The event store takes no appends", err.Error())
	case errors.Is(err, eventstore.ErrDiskFull):
		return NewProblem(http.StatusInsufficientStorage, "disk-full", "The disk is nearly full", "the event store takes no appends until its disk has more free space; queries go on")
	case errors.Is(err, eventstore.ErrNoLeader):
		return NewProblem(http.StatusServiceUnavailable, "no-leader", "The cluster has no leader", "too few nodes of the cluster reach each other, so that nothing was written; lookups go on")
	case errors.Is(err, eventstore.ErrUnavailable):
		return NewProblem(http.StatusServiceUnavailable, "store-unavailable", "The event store cannot be reached", "the event store cannot be reached; the outcome of a command is unknown: ask for it before sending the command again")
	case errors.Is(err, eventstore.ErrAccessDenied):
		return NewProblem(http.StatusServiceUnavailable, "store-denied", "The event store denies access", "the event store does not let this registry in; its log says more")
	case errors.Is(err, eventstore.ErrRefused):
		return NewProblem(http.StatusServiceUnavailable, "store-refused", "The event store refuses the request", "the event store answered what the registry cannot act on; its log says more")
	case errors.Is(err, eventstore.ErrClosed):
		return NewProblem(http.StatusServiceUnavailable, "stopping", "The registry is shutting down", err.Error())
	case errors.Is(err, eventstore.ErrTooLarge):
		return NewProblem(http.StatusRequestEntityTooLarge, "too-large", "The request is too large", err.Error())
	case errors.As(err, &tooLarge):
		return NewProblem(http.StatusRequestEntityTooLarge, "too-large", "The request is too large", fmt.Sprintf("body must be at most %d bytes", tooLarge.Limit))
	case errors.As(err, &malformed):
		return NewProblem(http.StatusBadRequest, "invalid-json", "The body is not JSON", fmt.Sprintf("%v, at byte %d", err, malformed.Offset))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return NewProblem(http.StatusServiceUnavailable, "timeout", "The request took too long", "the outcome is unknown: ask for it before sending the command again")
	case errors.As(err, &fromEcho):
		return routeProblem(fromEcho)
	}
	return NewProblem(http.StatusInternalServerError, "internal", "Something is wrong in the registry", "an unexpected error happened; the registry's log says which, under this request id")
}

// otherTimeline names the position at which a consumer of events can go on. A client that keeps a copy of the catalog
// must begin anew.
func otherTimeline(e eventstore.OtherTimeline) *wire.Problem {
	p := &wire.Problem{Type: wire.OtherTimeline, Title: "The position is of another timeline", Status: http.StatusGone, Detail: e.Error() + "; begin anew without it"}
	if e.Relation == eventstore.Lost {
		p.Fork = &wire.Position{Timeline: e.Timeline, Number: e.Fork}
	}
	return p
}

// goneProblem names the event that took an instance out, and the path of the instance's history.
func goneProblem(gone queries.Gone) *wire.Problem {
	p := NewProblem(http.StatusGone, "instance-gone", "The instance is not there any more", gone.Error())
	p.Event = &gone.Event
	p.History = "/v1/services/" + url.PathEscape(gone.Key.Service) + "/instances/" + url.PathEscape(gone.Key.ID) + "/history"
	if gone.Key.Namespace != domain.DefaultNamespace {
		p.History += "?ns=" + gone.Key.Namespace
	}
	return p
}

// routeProblem is the problem of a request that the router refuses.
func routeProblem(err *echo.HTTPError) *wire.Problem {
	switch err.Code {
	case http.StatusNotFound:
		return NewProblem(err.Code, "no-such-route", "There is nothing at this path", "see /openapi.yaml for the paths there are")
	case http.StatusMethodNotAllowed:
		return NewProblem(err.Code, "method-not-allowed", "The path does not take this method", "see /openapi.yaml for the methods it takes")
	}
	return NewProblem(err.Code, "http", http.StatusText(err.Code), fmt.Sprint(err.Message))
}

// Fail answers requests with the problems of their errors. It is echo's HTTPErrorHandler.
//
// If a part of the reply is sent already, Fail aborts the transfer, so that the client does not take the part for the
// whole reply.
func Fail(logger *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			log(logger, levelOfCut(c, err), "a reply was cut off", c, err)
			panic(http.ErrAbortHandler)
		}
		p := ProblemOf(err)
		if p.Status == http.StatusInternalServerError {
			log(logger, slog.LevelError, "request failed", c, err)
		}
		if exceeded := (LimitExceeded{}); errors.As(err, &exceeded) {
			c.Response().Header().Set("Retry-After", exceeded.retryAfter())
		} else if after := RetryAfter(p); after != "" {
			c.Response().Header().Set("Retry-After", after)
		}
		if p.Status == http.StatusUnauthorized {
			c.Response().Header().Set("WWW-Authenticate", Challenge)
		}
		_ = Answer(c, p.Status, MIMEProblem, EncodeProblem(p, RequestID(c))) // the client may be gone
	}
}

// MIMEProblem is the type of a problem's body.
const MIMEProblem = "application/problem+json"

// RetryAfter is the seconds after which a request may be sent again; "": no time is known.
func RetryAfter(p *wire.Problem) string {
	if p.Status == http.StatusServiceUnavailable {
		return "1"
	}
	return ""
}

// EncodeProblem is the body of a reply with the problem.
func EncodeProblem(p *wire.Problem, requestID string) []byte {
	shown := *p
	shown.RequestID = requestID
	body, err := json.Marshal(shown)
	if err != nil {
		return []byte(`{}`)
	}
	return body
}

// LogFailure logs an error whose cause the reply does not name.
func LogFailure(logger *slog.Logger, method, path, requestID string, err error) {
	logFailure(context.Background(), logger, slog.LevelError, "request failed", method, path, requestID, err)
}

func log(logger *slog.Logger, level slog.Level, message string, c echo.Context, err error) {
	r := c.Request()
	logFailure(r.Context(), logger, level, message, r.Method, r.URL.Path, RequestID(c), err)
}

func logFailure(ctx context.Context, logger *slog.Logger, level slog.Level, message, method, path, requestID string, err error) {
	attributes := []any{"method", method, "path", redactText(path), "request_id", requestID, "cause", err}
	if p := new(Panic); errors.As(err, &p) {
		attributes = append(attributes, "stack", string(p.Stack))
	}
	logger.Log(ctx, level, message, attributes...)
}

// levelOfCut is the level at which an aborted reply is logged: debug if the client has closed the connection or does not
// read its reply.
func levelOfCut(c echo.Context, err error) slog.Level {
	switch {
	case errors.As(err, new(*Panic)):
		return slog.LevelError
	case c.Request().Context().Err() != nil, errors.As(err, new(net.Error)):
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
