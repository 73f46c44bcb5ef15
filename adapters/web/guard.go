package web

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// Hosts are the names under which a server may be asked. A server that listens on a loopback address has no
// access control, and every page in a browser on its machine can reach it: a page of evil.example whose name is
// made to point to 127.0.0.1 is of the same origin as the server, in the browser's eyes. The Host header still
// says evil.example, so it is looked at.
//
// A nil *Hosts allows all.
type Hosts struct {
	names map[string]bool // in lower case
}

// NewHosts are the hosts of a server that listens on an address (host:port): the loopback addresses, localhost,
// the address's own host, and more (names or addresses, without a port). It is nil where the address is not a
// loopback address: others may reach the server anyway.
func NewHosts(listen string, more []string) *Hosts {
	own, _, err := net.SplitHostPort(listen)
	if err != nil || !loopback(own) {
		return nil
	}
	h := &Hosts{map[string]bool{"localhost": true, strings.ToLower(own): true}}
	for _, name := range more {
		h.names[plainName(name)] = true
	}
	return h
}

// Allow says whether a Host header may be answered.
func (h *Hosts) Allow(host string) bool {
	if h == nil {
		return true
	}
	name := plainName(withoutPort(host))
	return name != "" && (h.names[name] || loopbackAddress(name))
}

// AllowBytes is Allow for the lane.
func (h *Hosts) AllowBytes(host []byte) bool { return h == nil || h.Allow(string(host)) }

// plainName is a name as it is compared: in lower case, without the root's dot and an address's brackets.
func plainName(name string) string {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		return strings.TrimSuffix(inner, "]")
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// withoutPort is the host of a Host header; "" where it is none.
func withoutPort(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") || strings.IndexByte(host, ':') < 0 {
		return host
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return ""
	}
	return name
}

func loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || loopbackAddress(host)
}

func loopbackAddress(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Guard refuses what a page in a browser makes its reader's browser send: requests to a host that is not
// ours, requests of another site that are not lookups, and bodies that a form can send. lines are the routes that
// take NDJSON, too.
func Guard(hosts *Hosts, lines ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if !hosts.Allow(r.Host) && !IsLocal(r.Context()) {
				return NewProblem(http.StatusMisdirectedRequest, "wrong-host", "The request is for another host",
					"this server answers for localhost, loopback addresses and the hosts of --allow-host")
			}
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return next(c)
			}
			if err := ownSite(r); err != nil {
				return err
			}
			if r.ContentLength != 0 && !isJSON(r.Header, slices.Contains(lines, c.Path())) {
				return NewProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "The body is of another type",
					"a body must be JSON: send Content-Type: application/json")
			}
			return next(c)
		}
	}
}

// OwnSite refuses requests of another site's pages to a route that only looks, but is not for browsers' tags.
func OwnSite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := ownSite(c.Request()); err != nil {
			return err
		}
		return next(c)
	}
}

var crossOrigin = http.NewCrossOriginProtection()

// ownSite goes by Sec-Fetch-Site, or by Origin where a browser does not send that. Who sends neither is no
// browser.
func ownSite(r *http.Request) error {
	command := &http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL} // so that its method exempts nothing
	if r.Header.Get("Origin") == "null" && r.Header.Get("Sec-Fetch-Site") == "" || crossOrigin.Check(command) != nil {
		return NewProblem(http.StatusForbidden, "cross-site", "The request comes from another site", "a page of another site may not send this")
	}
	return nil
}

// isJSON says whether a body is said to be JSON. A body of no type is taken for JSON.
func isJSON(h http.Header, lines bool) bool {
	types := h["Content-Type"]
	if len(types) == 0 {
		return true
	}
	if len(types) > 1 {
		return false
	}
	kind, _, err := mime.ParseMediaType(types[0])
	if err != nil {
		return false
	}
	return kind == echo.MIMEApplicationJSON || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") ||
		lines && (kind == "application/x-ndjson" || kind == "application/ndjson")
}
