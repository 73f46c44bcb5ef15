package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// Answer sends an encoded body. The request's turn ends before the body is sent.
func Answer(c echo.Context, status int, kind string, body []byte) error {
	announce(c, body)
	if len(body) >= LargeBody {
		return answerLarge(c, status, kind, body)
	}
	return c.Blob(status, kind, body)
}

// AnswerJSON sends encoded JSON, compressed if the client accepts that.
func AnswerJSON(c echo.Context, status int, body []byte) error {
	return answerJSON(c, status, body, "")
}

func answerJSON(c echo.Context, status int, body []byte, etag string) error {
	if small, ok := compressed(c, etag, body); ok {
		h := c.Response().Header()
		h["Content-Encoding"] = []string{"gzip"}
		if etag != "" {
			h["Etag"] = []string{Weak(etag)}
		}
		body = small
	}
	if etag == "" || len(body) < turnBody || len(body) >= LargeBody {
		return Answer(c, status, echo.MIMEApplicationJSON, body)
	}
	announce(c, body)
	return inTurns(c, status, echo.MIMEApplicationJSON, body)
}

// AnswerTagged sends encoded JSON with its entity tag, or 304 if the client has the JSON already.
func AnswerTagged(c echo.Context, body []byte, etag string) error {
	h := c.Response().Header()
	h["Etag"] = []string{etag}
	if !Matches(listed(c.Request().Header, "If-None-Match"), etag) {
		return answerJSON(c, http.StatusOK, body, etag)
	}
	if len(body) >= GzipFrom {
		h.Add("Vary", "Accept-Encoding")
		if c.Get(gzipKey) != nil {
			h["Etag"] = []string{Weak(etag)}
		}
	}
	return c.NoContent(http.StatusNotModified)
}

// AnswerRevision is AnswerTagged of a value whose tag is a revision. A client may name the tag in If-Match, for which it must
// be strong, so that the reply is not compressed.
func AnswerRevision(c echo.Context, body []byte, etag string) error {
	c.Response().Header()["Etag"] = []string{etag}
	if Matches(listed(c.Request().Header, "If-None-Match"), etag) {
		return c.NoContent(http.StatusNotModified)
	}
	return Answer(c, http.StatusOK, echo.MIMEApplicationJSON, body)
}

// announce gives back the request's turn and sets the length of the body.
func announce(c echo.Context, body []byte) {
	Leave(c)
	c.Response().Header()["Content-Length"] = []string{strconv.Itoa(len(body))} // without the header net/http sends a long reply in chunks
}

// Matches says whether an If-None-Match header names the tag, by weak comparison (RFC 9110 13.1.2). An empty header
// names no tag.
func Matches(header, etag string) bool {
	if header == "*" {
		return true
	}
	for candidate := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(candidate), "W/") == etag {
			return true
		}
	}
	return false
}

// HeadersOnly ends a HEAD request for a stream when the headers are sent, for a stream has no end. The handler's context
// ends, as if the client had closed the connection.
func HeadersOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method != http.MethodHead {
			return next(c)
		}
		ctx, cancel := context.WithCancel(c.Request().Context())
		defer cancel()
		c.SetRequest(c.Request().WithContext(ctx))
		c.Response().Before(cancel)
		if err := next(c); err != nil && !c.Response().Committed {
			return err
		}
		return nil
	}
}

// Router takes routes.
type Router interface {
	GET(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
	HEAD(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
}

// Get adds a route that answers GET, and HEAD in the same way: net/http leaves out the body.
func Get(r Router, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
	r.GET(path, h, m...)
	r.HEAD(path, h, m...)
}
