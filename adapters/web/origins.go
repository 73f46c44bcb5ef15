package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// Origins are the origins of other sites whose pages may use the API from a browser (CORS). None is allowed by default. A
// page of an allowed origin may send whatever its caller may send; pages of other sites stay refused, and so do requests
// for another host.
type Origins []string // as browsers write them: https://ui.example.com:8443

// ParseOrigins reads origins. Each must be exact: a scheme, a host, and a port where it is not the scheme's.
func ParseOrigins(texts []string) (Origins, error) {
	var origins Origins
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Contains(u.Host, "*") || !strings.EqualFold(u.Scheme+"://"+u.Host, text) {
			return nil, fmt.Errorf("an origin must be like https://ui.example.com or http://localhost:3000, not %q", text)
		}
		if u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443" || strings.HasSuffix(u.Host, ":") {
			return nil, fmt.Errorf("browsers leave the usual port out of an origin: %q", text)
		}
		origins = append(origins, strings.ToLower(text))
	}
	return origins, nil
}

// Vary is the Vary of every reply: a cache must not give the reply for one origin to another. "": replies are the same for all.
func (o Origins) Vary() string {
	if len(o) == 0 {
		return ""
	}
	return "Origin"
}

// sharedKey marks in the context of a request that a page of an allowed origin sent it.
const sharedKey = "rollcall.shared"

// What pages of allowed origins may send and read.
const (
	sharedMethods = "GET, HEAD, POST, PUT, DELETE"
	sharedHeaders = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Prefer, X-Request-Id"
	exposed       = "ETag, Location, Preference-Applied, Retry-After, Rollcall-Expiry-Held, Rollcall-Lag, Rollcall-Panic, Rollcall-Position, Rollcall-Warning, X-Request-Id"
)

// Share lets browsers give replies to pages of the allowed origins, and answers their preflights. A preflight has no
// token, so that Share stands before the middleware that asks for one. Without origins it does nothing.
func Share(hosts *Hosts, origins Origins) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if len(origins) == 0 {
			return next
		}
		return func(c echo.Context) error {
			r, h := c.Request(), c.Response().Header()
			h.Add("Vary", origins.Vary())
			named := r.Header["Origin"]
			if len(named) != 1 || !slices.Contains(origins, named[0]) || !hosts.Allow(r.Host) {
				return next(c)
			}
			h.Set("Access-Control-Allow-Origin", named[0])
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				h.Set("Access-Control-Allow-Methods", sharedMethods)
				h.Set("Access-Control-Allow-Headers", sharedHeaders)
				h.Set("Access-Control-Max-Age", "600")
				return c.NoContent(http.StatusNoContent)
			}
			h.Set("Access-Control-Expose-Headers", exposed)
			c.Set(sharedKey, true)
			return next(c)
		}
	}
}
