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

// Hosts are the host names for which a server answers. A server that listens on a loopback address has no access
// control, and every page in a browser on the same machine can reach the server. If the name evil.example is made to
// point to 127.0.0.1, a page of evil.example has the same origin as the server for the browser (DNS rebinding). The Host
// header of such a request is evil.example, so that the server can refuse the request.
//
// A nil *Hosts allows every host.
type Hosts struct {
	names map[string]bool // in lower case
}

// NewHosts gives the hosts of a server that listens on an address (host:port): the loopback addresses, localhost, the
// host of the address, and more (names or addresses, without a port). The result is nil if the address is not a loopback
// address: then other machines can reach the server directly.
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

// Allow says whether the server answers a request with the Host header.
func (h *Hosts) Allow(host string) bool {
	if h == nil {
		return true
	}
	name := plainName(withoutPort(host))
	return name != "" && (h.names[name] || loopbackAddress(name))
}

// LoopbackListen says whether only this machine reaches a server that listens on an address (host:port).
func LoopbackListen(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err != nil || loopback(host) // an address that is none is refused by whoever listens
}

// AllowBytes is Allow for the lane.
func (h *Hosts) AllowBytes(host []byte) bool { return h == nil || h.Allow(string(host)) }

// plainName is the form of a name for comparison: in lower case, without the dot of the DNS root at the end and without
// the brackets of an address.
func plainName(name string) string {
	if inner, ok := strings.CutPrefix(name, "["); ok {
		return strings.TrimSuffix(inner, "]")
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// withoutPort is the host of a Host header; "" if the header is malformed.
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

// Guard refuses the requests that a page of another site can make a browser send: requests to another host, commands
// from another site, and bodies of the types that a form can send. lines are the routes that also take NDJSON.
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
			if err := ownSite(c); err != nil {
				return err
			}
			if r.ContentLength == 0 {
				return next(c)
			}
			if !isJSON(r.Header, slices.Contains(lines, c.Path())) {
				return NewProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "The body is of another type",
					"a body must be JSON in UTF-8: send Content-Type: application/json")
			}
			if coded(r.Header) {
				c.Response().Header().Set("Accept-Encoding", "identity") // as RFC 9110, section 15.5.16, has it
				return NewProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "The body is coded",
					"a body must be sent as it is: leave out Content-Encoding")
			}
			return next(c)
		}
	}
}

// OwnSite refuses requests from pages of another site, on a route that changes nothing. Guard refuses such requests only
// where they may change something.
func OwnSite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := ownSite(c); err != nil {
			return err
		}
		return next(c)
	}
}

var crossOrigin = http.NewCrossOriginProtection()

// ownSite refuses a request from another site, by the header Sec-Fetch-Site, or by Origin if the browser does not send
// Sec-Fetch-Site. A client that sends neither header is not a browser. Share has let pages of allowed origins in.
func ownSite(c echo.Context) error {
	if c.Get(sharedKey) != nil {
		return nil
	}
	r := c.Request()
	command := &http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL} // crossOrigin lets every GET pass, so that it is given a POST
	if r.Header.Get("Origin") == "null" && r.Header.Get("Sec-Fetch-Site") == "" || crossOrigin.Check(command) != nil {
		return NewProblem(http.StatusForbidden, "cross-site", "The request comes from another site", "a page of another site may not send this")
	}
	return nil
}

// coded says whether the headers declare the body as compressed, or coded otherwise. Such a body must not be read as if it were not.
func coded(h http.Header) bool {
	return slices.ContainsFunc(h["Content-Encoding"], func(coding string) bool {
		return !strings.EqualFold(coding, "identity") && coding != ""
	})
}

// isJSON says whether the headers declare the body as JSON, which is in UTF-8 (RFC 8259, section 8.1). A body without a
// Content-Type counts as JSON.
func isJSON(h http.Header, lines bool) bool {
	types := h["Content-Type"]
	if len(types) == 0 {
		return true
	}
	if len(types) > 1 {
		return false
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	if charset, named := parameters["charset"]; err != nil || named && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	return kind == echo.MIMEApplicationJSON || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") ||
		lines && (kind == "application/x-ndjson" || kind == "application/ndjson")
}
