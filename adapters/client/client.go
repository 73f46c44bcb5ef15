// Package client is the Go client of a Rollcall registry. It speaks the native HTTP API with the JSON
// forms of queries/wire, and imports nothing else of Rollcall but the domain.
//
// A refusal by the registry is a *wire.Problem; a server that gives no answer is an *Unreachable, a
// server that is no registry a *NotRollcall, and a transfer that ends too early is a *Broken.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// DefaultTimeout is how long a call may take.
const DefaultTimeout = 30 * time.Second

// KeepAlive is the longest time for which a registry leaves a stream without a byte.
const KeepAlive = 15 * time.Second

// maxEvent is the longest event that a client takes, in bytes.
const maxEvent = 64 << 20

// Options say how a client asks. The zero value will do.
type Options struct {
	Namespace string // of instances and services that name none; "": domain.DefaultNamespace
	Via       string // by which way commands come, for the history: cli; "": http, as any program's
	// Timeout is how long a call may take, and how long a stream may take to begin; 0: DefaultTimeout.
	Timeout   time.Duration
	Transport http.RoundTripper // nil: http.DefaultTransport
}

// Client asks one registry. It may be used by several goroutines at once.
type Client struct {
	url     string // without a slash at the end
	options Options
	http    *http.Client
}

// New is a client of the registry at a URL such as http://127.0.0.1:7700. It does not connect yet.
func New(registry string, options Options) (*Client, error) {
	u, err := url.Parse(registry)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, domain.InvalidField{Field: "url", Rule: "must be like http://127.0.0.1:7700"}
	}
	if options.Namespace == "" {
		options.Namespace = domain.DefaultNamespace
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	return &Client{url: strings.TrimRight(registry, "/"), options: options, http: &http.Client{Transport: options.Transport, CheckRedirect: keepMethod}}, nil
}

// keepMethod follows no redirect that would turn a command into a GET.
func keepMethod(r *http.Request, via []*http.Request) error {
	switch {
	case r.Method != via[0].Method:
		return http.ErrUseLastResponse
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// URL is where the registry is.
func (c *Client) URL() string { return c.url }

// Reply is what the registry answered, and what came with the answer.
type Reply[T any] struct {
	Value    T
	Raw      []byte        // the answer's body as it came
	Created  bool          // the registry answered 201: something new is there
	Position wire.Position // up to where the catalog was
	Warning  string        // of the registry, e.g. that it holds back expiry; "": none
}

// request is one call of the API.
type request struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         any           // nil: none
	timeout      time.Duration // 0: the client's
}

func get(path string, query url.Values) request {
	return request{method: http.MethodGet, path: path, query: query}
}

// Call sends a request and gives the reply's body as it came. It is for routes that have no method here.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	_, b, err := c.call(ctx, request{method: method, path: path, query: query, body: body})
	return b, err
}

// call sends a request and reads the reply whole within the timeout.
func (c *Client) call(ctx context.Context, r request) (*http.Response, []byte, error) {
	within := c.within(r)
	ctx, cancel := context.WithTimeoutCause(ctx, within, slowAnswer(within))
	defer cancel()
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, &Broken{URL: c.url, Err: plainCause(ctx, err)}
	}
	return resp, b, nil
}

// open sends a request whose reply may go on for ever; only its beginning is due within the timeout.
// Whoever closes the body ends the request.
func (c *Client) open(ctx context.Context, r request) (*openBody, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	within := c.within(r)
	begun := time.AfterFunc(within, func() { cancel(slowAnswer(within)) })
	resp, err := c.do(ctx, r)
	begun.Stop()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &openBody{resp.Body, resp, ctx, cancel}, nil
}

// within is how long a request may take.
func (c *Client) within(r request) time.Duration {
	if r.timeout > 0 {
		return r.timeout
	}
	return c.options.Timeout
}

// openBody ends its request with itself, and says why a read failed.
type openBody struct {
	io.ReadCloser
	resp   *http.Response
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *openBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = plainCause(b.ctx, err)
	}
	return n, err
}

func (b *openBody) Close() error {
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// do gives a reply that is no refusal.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	var content io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	target := c.url + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, target, content)
	if err != nil {
		return nil, err
	}
	for name, value := range r.header {
		sent.Header.Set(name, value)
	}
	if c.options.Via != "" {
		sent.Header.Set("Rollcall-Via", c.options.Via)
	}
	if content != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(sent)
	if err != nil {
		return nil, &Unreachable{URL: c.url, Err: plainCause(ctx, err)}
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, refusal(c.url, resp)
	}
	return resp, nil
}

// ask sends a request and reads the answer's JSON.
func ask[T any](ctx context.Context, c *Client, r request) (Reply[T], error) {
	var reply Reply[T]
	resp, b, err := c.call(ctx, r)
	if err != nil {
		return reply, err
	}
	reply.Raw, reply.Created, reply.Warning = b, resp.StatusCode == http.StatusCreated, strings.Join(resp.Header.Values("Rollcall-Warning"), "; ")
	if s := resp.Header.Get("Rollcall-Position"); s != "" {
		if reply.Position, err = wire.ParsePosition("Rollcall-Position", s); err != nil {
			return reply, err
		}
	}
	if err := json.Unmarshal(b, &reply.Value); err != nil {
		return reply, &NotRollcall{URL: c.url, Answer: resp.Status + ", which is not what was asked for: " + err.Error()}
	}
	return reply, nil
}
