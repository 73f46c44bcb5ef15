package probes

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Kind is what a probe does.
type Kind uint8

// The kinds of probes.
const (
	HTTP Kind = iota // sends a request over HTTP or HTTPS
	TCP              // opens a connection
	GRPC             // asks the health service of a gRPC server
)

// Kinds are the names of the kinds, in metrics and in words.
var Kinds = [...]string{"http", "tcp", "grpc"}

func (k Kind) String() string { return Kinds[k] }

// Target is what a probe looks at. It is kept for every check, so it is small: what few checks have is in Extra.
type Target struct {
	Host    string // an IP address without brackets, or a name
	Path    string // of HTTP, with its query; of gRPC: the name of the service, "": the whole server
	Extra   *Extra // nil: a GET whose answer must be a 2xx, and a certificate that is verified for the host
	Timeout time.Duration
	Port    uint16
	Kind    Kind
	TLS     bool
}

// Extra is what few checks have.
type Extra struct {
	Method     string // "": GET
	Headers    [][2]string
	Body       string
	Statuses   []domain.StatusRange // that pass; empty: 200 to 299
	Warnings   []domain.StatusRange // that make the check warning
	Redirects  bool                 // whether redirects are followed, up to maxRedirects
	ServerName string               // for which the certificate is verified; "": the host
	Unverified bool                 // whether any certificate will do
}

var plainExtra = new(Extra)

func (t *Target) extra() *Extra {
	if t.Extra == nil {
		return plainExtra
	}
	return t.Extra
}

func (t *Target) method() string {
	if m := t.extra().Method; m != "" {
		return m
	}
	return "GET"
}

// passes says whether a status of HTTP passes.
func (t *Target) passes(status int) bool {
	return domain.Check{ExpectedStatuses: t.extra().Statuses}.ExpectedStatus(status)
}

// warns says whether a status of HTTP that does not pass is a warning.
func (t *Target) warns(status int) bool {
	return domain.Check{WarningStatuses: t.extra().Warnings}.WarningStatus(status)
}

// authority is the host and port as they stand in a URL.
func (t *Target) authority() string {
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if t.Kind == HTTP && (t.Port == 80 && !t.TLS || t.Port == 443 && t.TLS) {
		return host
	}
	return host + ":" + strconv.Itoa(int(t.Port))
}

// serverName is the name for which the certificate is verified.
func (t *Target) serverName() string {
	if n := t.extra().ServerName; n != "" {
		return n
	}
	return t.Host
}

// SetURL sets host, port, path and TLS from a URL. false: the URL is none that can be probed.
func (t *Target) SetURL(u *url.URL) bool {
	t.TLS = u.Scheme == "https"
	if u.Scheme != "http" && !t.TLS || u.Hostname() == "" || u.User != nil {
		return false
	}
	t.Host = strings.ToLower(u.Hostname())
	switch port := u.Port(); {
	case port != "":
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		t.Port = uint16(n)
	case t.TLS:
		t.Port = 443
	default:
		t.Port = 80
	}
	t.Path = u.EscapedPath()
	if !strings.HasPrefix(t.Path, "/") {
		t.Path = "/" + t.Path
	}
	if u.RawQuery != "" {
		t.Path += "?" + u.RawQuery
	}
	return true
}

// literal is the host as an IP address. It is not valid if the host is a name.
func literal(host string) netip.Addr {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return ip
}

func (e *Extra) equal(o *Extra) bool {
	return e.Method == o.Method && slices.Equal(e.Headers, o.Headers) && e.Body == o.Body && slices.Equal(e.Statuses, o.Statuses) && slices.Equal(e.Warnings, o.Warnings) &&
		e.Redirects == o.Redirects && e.ServerName == o.ServerName && e.Unverified == o.Unverified
}
