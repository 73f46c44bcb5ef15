package web

import (
	"log/slog"
	"time"

	"github.com/labstack/echo/v4"
)

// Observer is told of requests, for metrics. Its methods may be called from any goroutine.
type Observer interface {
	// Replied is told of a reply that was made. route is the path with its parameters' names, "" where
	// no route matched.
	Replied(method, route string, status int, took time.Duration)
	// Series is Replied for one method, route and status, without a search for each reply.
	Series(method, route string, status int) func(took time.Duration)
	// Subscribed is told that a stream of a route began (1) or ended (-1).
	Subscribed(route string, change int)
}

// Observe tells the observer of every request, and the log at its debug level. streams says which
// requests stay open for as long as their client likes: their time is no latency.
func Observe(observer Observer, logger *slog.Logger, streams func(echo.Context) bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			began := time.Now()
			stays := streams(c)
			if stays {
				observer.Subscribed(c.Path(), 1)
			}
			defer func() { // a handler may end by a panic that cuts the connection
				took := time.Since(began)
				r := c.Request()
				if stays {
					observer.Subscribed(c.Path(), -1)
				} else {
					observer.Replied(r.Method, c.Path(), c.Response().Status, took)
				}
				logger.Debug("request", "method", r.Method, "path", r.URL.Path, "query", r.URL.RawQuery, "status", c.Response().Status,
					"bytes", c.Response().Size, "took", took, "source", r.RemoteAddr, "request_id", RequestID(c))
			}()
			err := next(c)
			if err != nil {
				c.Error(err) // so that the status is known here
			}
			return nil
		}
	}
}
