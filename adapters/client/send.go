package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// answer is a reply with the node that gave it.
type answer struct {
	*http.Response
	node  string
	again bool // an earlier attempt may have been carried out, too
}

// position is the position that the catalog of the node had reached; the zero position: the reply does not say.
func (a *answer) position() (at wire.Position, err error) {
	if s := a.Header.Get("Rollcall-Position"); s != "" {
		at, err = wire.ParsePosition("Rollcall-Position", s)
	}
	return at, err
}

// call sends a request and reads the whole reply within the timeout.
func (c *Client) call(ctx context.Context, r request) (resp *answer, body []byte, err error) {
	timeout := c.timeout(r)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, slowAnswer(timeout))
	defer cancel()
	again, err := c.each(ctx, r, func(node string) (err error) {
		if resp, err = c.do(ctx, r, node); err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, err = readBody(&r, resp.Body); err != nil {
			return &Broken{URL: node, Err: plainCause(ctx, err)}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	resp.again = again
	return resp, body, nil
}

// open sends a request whose reply may have no end. The reply must begin within the timeout. The caller must close the
// body, which ends the request.
func (c *Client) open(ctx context.Context, r request) (*openBody, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := c.timeout(r)
	begun := time.AfterFunc(timeout, func() { cancel(slowAnswer(timeout)) })
	var resp *answer
	_, err := c.each(ctx, r, func(node string) (err error) {
		resp, err = c.do(ctx, r, node)
		return err
	})
	begun.Stop()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &openBody{resp.Body, resp, ctx, cancel}, nil
}

// timeout is how long a request may take.
func (c *Client) timeout(r request) time.Duration {
	if r.timeout > 0 {
		return r.timeout
	}
	return c.options.Timeout
}

// openBody is the body of a reply without an end. Close ends the request. The error of a read names the cause.
type openBody struct {
	io.ReadCloser
	resp   *answer
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

// do sends a request to a node and gives the reply. A reply with a status of 300 or more is an error.
func (c *Client) do(ctx context.Context, r request, node string) (*answer, error) {
	attempt := c.attempt(ctx, r)
	sent, err := c.request(attempt.ctx, r, node)
	if err != nil {
		attempt.cancel(nil)
		return nil, err
	}
	resp, err := c.http.Do(sent)
	attempt.answered()
	if err != nil {
		err = &Unreachable{URL: node, Err: attempt.cause(err), Unknown: !r.reads() && attempt.mayHaveSent(err)}
		attempt.cancel(nil)
		return nil, err
	}
	NoUpgrade(resp)
	if resp.StatusCode < 200 || resp.StatusCode >= 300 {
		defer attempt.cancel(nil)
		defer resp.Body.Close()
		return nil, refusal(node, resp)
	}
	resp.Body = &attemptBody{resp.Body, attempt.cancel}
	if !marked(resp.Header) {
		defer resp.Body.Close()
		return nil, &NotRollcall{URL: node, Answer: resp.Status + " without the headers of a registry", Status: resp.StatusCode}
	}
	return &answer{Response: resp, node: node}, nil
}

// request makes the request to a node.
func (c *Client) request(ctx context.Context, r request, node string) (*http.Request, error) {
	var content io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	target := node + r.path
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
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		sent.Header.Set("Authorization", "Bearer "+token) // a redirect to another host drops it (net/http)
	}
	if c.options.Via != "" {
		sent.Header.Set("Rollcall-Via", c.options.Via)
	}
	if content != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	return sent, nil
}

// attempt is a request that is under way to one node.
type attempt struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	slow   *time.Timer // ends the attempt, so that another node is tried; nil: there is no other node

	asked, connected atomic.Bool  // a connection was looked for, and found
	certificate      atomic.Value // a string: what show found when the server asked for a certificate
}

// attempt begins an attempt. Where the registry has other nodes, an attempt that may be made again at another node has
// only its share of the time; for a command this holds until there is a connection.
func (c *Client) attempt(ctx context.Context, r request) *attempt {
	a := &attempt{}
	a.ctx, a.cancel = context.WithCancelCause(httptrace.WithClientTrace(withAsked(ctx, &a.certificate), &httptrace.ClientTrace{
		GetConn: func(string) { // again, if the transport found that a connection was closed before it was used
			a.asked.Store(true)
			a.connected.Store(false)
		},
		GotConn: func(httptrace.GotConnInfo) { a.connected.Store(true) },
	}))
	if n := len(c.nodes.urls); n > 1 {
		timeout := share(c.timeout(r), c.options.Timeout, n)
		again := r.repeatable || r.reads()
		a.slow = time.AfterFunc(timeout, func() {
			if again || a.asked.Load() && !a.connected.Load() {
				a.cancel(slowAnswer(timeout))
			}
		})
	}
	return a
}

// cause is the cause of the attempt's failure, in plain words.
func (a *attempt) cause(err error) error {
	if found, ok := a.certificate.Load().(string); ok && a.ctx.Err() == nil {
		return fmt.Errorf("%w; %s", plainCause(a.ctx, err), found)
	}
	return plainCause(a.ctx, err)
}

// answered ends the time of the attempt: the reply has begun, or the attempt failed.
func (a *attempt) answered() {
	if a.slow != nil {
		a.slow.Stop()
	}
}

// mayHaveSent says whether bytes of a request that failed may have reached the node. A transport that does not tell of its
// connections is not trusted to have sent nothing.
func (a *attempt) mayHaveSent(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return a.connected.Load() // true: a redirect led elsewhere
	}
	return !a.asked.Load() || a.connected.Load()
}

// attemptBody is the body of a reply. Close ends the attempt.
type attemptBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *attemptBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
