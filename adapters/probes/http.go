package probes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// UserAgent is how the prober names itself to its targets.
const UserAgent = "Rollcall-Probe/1"

// plainHeader is the header of most requests. INVARIANT: nobody changes it.
var plainHeader = http.Header{"User-Agent": {UserAgent}, "X-Idempotency-Key": nil}

type placeKey struct{}

// dialHTTP and dialHTTPS connect for net/http. The context is that of the look for which net/http dials. Another look that
// waits for a connection of the same key may get it, because the key says all that matters.
func (l *Looker) dialHTTP(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.dialFor(ctx, l.dial)
}

func (l *Looker) dialHTTPS(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.dialFor(ctx, l.dialTLS)
}

func (l *Looker) dialFor(ctx context.Context, dial func(context.Context, *place) (net.Conn, error)) (net.Conn, error) {
	p, ok := ctx.Value(placeKey{}).(*place)
	if !ok {
		return nil, errors.New("a connection for no look")
	}
	ctx, cancel := context.WithTimeout(ctx, p.target.Timeout) // net/http goes on dialling when the look has ended
	defer cancel()
	return dial(ctx, p)
}

// lookHTTP sends the request, and follows redirects if it is asked to.
func (l *Looker) lookHTTP(ctx context.Context, t *Target, address string, buffer []byte) Finding {
	for redirects := 0; ; redirects++ {
		f, next := l.request(ctx, t, address, buffer)
		if redirects > 0 {
			f.At, f.Answered = t, true
		}
		if next == nil {
			return f
		}
		if redirects == maxRedirects {
			f.Passed, f.Warned, f.Err = false, false, errTooManyRedirects
			return f
		}
		t = next
	}
}

var errTooManyRedirects = errors.New("there were more than 5 redirects")

// request sends one request. next is the target of a redirect that is to be followed; nil: there is none.
func (l *Looker) request(ctx context.Context, t *Target, address string, buffer []byte) (f Finding, next *Target) {
	p, err := l.place(ctx, t, address)
	if err != nil {
		return Finding{Err: err}, nil
	}
	var began atomic.Bool // set by a goroutine of net/http, which may be late
	ctx = httptrace.WithClientTrace(context.WithValue(ctx, placeKey{}, &p), &httptrace.ClientTrace{GotFirstResponseByte: func() { began.Store(true) }})
	resp, err := l.transport.RoundTrip(newRequest(ctx, t, p.key()))
	if err != nil {
		return Finding{Err: err, Began: began.Load()}, nil
	}
	defer resp.Body.Close()
	f.Status = resp.StatusCode
	if t.extra().Redirects {
		if next, err = redirected(t, resp); next != nil || err != nil {
			f.Err = err
			return f, next
		}
	}
	client.NoUpgrade(resp)
	f.Body, f.Err = readSome(resp.Body, buffer)
	f.Passed = f.Err == nil && t.passes(f.Status)
	f.Warned = f.Err == nil && !f.Passed && t.warns(f.Status)
	return f, nil
}

func newRequest(ctx context.Context, t *Target, key string) *http.Request {
	r := &http.Request{
		Method: t.method(), URL: &url.URL{Scheme: "http", Host: key, Opaque: t.Path}, Host: t.authority(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: plainHeader,
	}
	if t.TLS {
		r.URL.Scheme = "https"
	}
	if extra := t.extra(); len(extra.Headers) > 0 {
		r.Header = plainHeader.Clone()
		for _, h := range extra.Headers {
			if strings.EqualFold(h[0], "Host") {
				r.Host = h[1]
				continue
			}
			r.Header.Add(h[0], h[1])
		}
		if own := r.Header["User-Agent"]; len(own) > 1 { // the check names another one
			r.Header["User-Agent"] = own[1:]
		}
	}
	if body := t.extra().Body; body != "" {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		r.Body, _ = r.GetBody()
		r.ContentLength = int64(len(body))
	}
	return r.WithContext(ctx)
}

// redirected is the target of a redirect; nil: the answer is none.
func redirected(t *Target, resp *http.Response) (*Target, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	location := resp.Header.Get("Location")
	if location == "" {
		return nil, nil
	}
	base, err := url.Parse(t.Path)
	if err != nil {
		return nil, refused{"the redirect cannot be followed"}
	}
	base.Scheme, base.Host = "http", t.authority()
	if t.TLS {
		base.Scheme = "https"
	}
	to, err := base.Parse(location)
	next, extra := *t, *t.extra()
	if err != nil || !next.SetURL(to) {
		return nil, refused{"the redirect leads to what is no URL of HTTP"}
	}
	if next.Host != t.Host || next.Port != t.Port || next.TLS != t.TLS { // what is meant for one server is not told to another
		extra.Headers, extra.ServerName = nil, ""
	}
	if resp.StatusCode < http.StatusTemporaryRedirect && extra.Method != http.MethodHead {
		extra.Method, extra.Body = "", ""
	}
	next.Extra = &extra
	return &next, nil
}

// readSome reads at most maxBody bytes. A body that ends is read to its end, so that the connection can be used again.
func readSome(body io.Reader, buffer []byte) ([]byte, error) {
	n := 0
	for n < maxBody {
		m, err := body.Read(buffer[n:maxBody])
		n += m
		if errors.Is(err, io.EOF) {
			return buffer[:n], nil
		}
		if err != nil {
			return buffer[:n], err
		}
	}
	return buffer[:n], nil
}
