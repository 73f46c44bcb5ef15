package web

import (
	"log/slog"
	"time"

	"github.com/labstack/echo/v4"
)

// Observer gets the requests, for metrics. Its methods may be called from any goroutine.
type Observer interface {
	// Replied is called after each reply. route is the path with its parameters' names, or "" if no route matched.
	Replied(method, route string, status int, took time.Duration)
	// Series is Replied for one method, route and status, without a search for each reply.
	Series(method, route string, status int) func(took time.Duration)
	// Subscribed is called when a stream of a route begins (change 1) or ends (change -1).
	Subscribed(route string, change int)
}

// Observe reports every request to the observer, and to the log at the debug level. streams says which
// requests stay open until their client ends them: the time of such a request is not a latency.
func Observe(observer Observer, logger *slog.Logger, streams func(echo.Context) bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			began := time.Now()
			stays := streams(c)
			if stays {
				observer.Subscribed(c.Path(), 1)
			}
			defer func() { // runs also after the panic by which a handler aborts a reply
				took := time.Since(began)
				r := c.Request()
				if stays {
					observer.Subscribed(c.Path(), -1)
				} else {
					observer.Replied(r.Method, c.Path(), c.Response().Status, took)
				}
				logger.Debug("request", "method", r.Method, "path", redactText(r.URL.Path), "query", redactQuery(r.URL.RawQuery), "status", c.Response().Status,
					"bytes", c.Response().Size, "took", took, "source", r.RemoteAddr, "request_id", RequestID(c))
			}()
			err := next(c)
			if err != nil {
				c.Error(err) // writes the reply, so that the status is known here
			}
			return nil
		}
	}
}
