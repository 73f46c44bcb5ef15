package client

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Unreachable means that the registry gave no answer.
type Unreachable struct {
	URL string // of the registry, or of its nodes with commas between them
	Err error
	// Unknown says that the registry may have carried out the command nevertheless. Otherwise nothing was written.
	Unknown bool
}

func (e *Unreachable) Error() string {
	text := fmt.Sprintf("no answer from %s: %v", e.URL, e.Err)
	if answered(e.Err) || errors.As(e.Err, new(*causes)) { // the error says who answered, and what, or why each node did not
		text = e.Err.Error()
	}
	if e.Unknown {
		text += "; the command may have been carried out"
	}
	return text
}

// answered says whether an error is of a server that answered, at least in part.
func answered(err error) bool {
	return errors.As(err, new(*wire.Problem)) || errors.As(err, new(*NotRollcall)) || errors.As(err, new(*Broken))
}

func (e *Unreachable) Unwrap() error { return e.Err }

// NotRollcall means that the server that answered is no registry.
type NotRollcall struct {
	URL    string
	Answer string // the status line
	Status int    // of HTTP
}

func (e *NotRollcall) Error() string {
	return fmt.Sprintf("%s is not a Rollcall server: it answered %s", e.URL, e.Answer)
}

// Broken means that a transfer broke off. The part that came is right; the rest is missing.
type Broken struct {
	URL   string
	After eventstore.Position // position of the last event that came; 0: no event came, or the transfer had no events
	Err   error
}

func (e *Broken) Error() string {
	if e.After == 0 {
		return fmt.Sprintf("the answer from %s broke off: %v", e.URL, e.Err)
	}
	return fmt.Sprintf("the answer from %s broke off: %v; what comes after position %d is missing", e.URL, e.Err, e.After)
}

func (e *Broken) Unwrap() error { return e.Err }

// refusal is the error of a reply whose status is no success.
func refusal(registry string, resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return &Broken{URL: registry, Err: err}
	}
	var p wire.Problem
	if err := json.Unmarshal(b, &p); err != nil || !strings.HasPrefix(p.Type, wire.TypePrefix) {
		answer := resp.Status
		if to, err := resp.Location(); err == nil && resp.StatusCode < http.StatusBadRequest {
			answer += " to " + to.Scheme + "://" + to.Host + ", where the client does not follow"
		}
		if resp.StatusCode == http.StatusBadRequest && resp.Request.URL.Scheme == "http" && strings.Contains(string(b), "HTTPS") {
			answer += ", since it speaks https"
		}
		return &NotRollcall{URL: registry, Answer: answer, Status: resp.StatusCode}
	}
	p.Status = resp.StatusCode
	if p.Type == wire.NoSuchRoute {
		p.Detail = fmt.Sprintf("%s has nothing at %s: the URL is wrong, or the registry older", registry, resp.Request.URL.Path)
	}
	return &p
}

// slowAnswer is the cause of a context that ended because the registry took too long.
type slowAnswer time.Duration

func (e slowAnswer) Error() string { return fmt.Sprintf("nothing came within %v", time.Duration(e)) }

// Timeout implements the method of net.Error.
func (e slowAnswer) Timeout() bool { return true }

// PlainCause is why a request that another HTTP client sent failed, as this client tells it.
func PlainCause(ctx context.Context, err error) error { return plainCause(ctx, err) }

// plainCause is the cause of a failed request, without the method and the URL, and without what differs at each attempt: whoever tells of
// each cause once must know it again.
func plainCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var name *net.DNSError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return &worded{err, "it speaks http, not https"}
	case errors.As(err, &name) && name.IsNotFound: // Go's words have the server that was asked
		return &worded{err, "there is no host " + name.Name}
	}
	var certificate x509.CertificateInvalidError
	if errors.As(err, &certificate) && certificate.Reason == x509.Expired && certificate.Cert != nil { // Go's words have the time now
		valid := certificate.Cert.NotBefore.UTC().Format(time.RFC3339) + " to " + certificate.Cert.NotAfter.UTC().Format(time.RFC3339)
		return &worded{err, "tls: failed to verify certificate: it has expired or is not valid yet: it is valid from " + valid}
	}
	var call *net.OpError
	if errors.As(err, &call) && (call.Op == "read" || call.Op == "write") { // Go's words have the port of this connection
		return &worded{err, call.Op + ": " + call.Err.Error()}
	}
	return err
}

// worded is an error in other words.
type worded struct {
	err  error
	text string
}

func (e *worded) Error() string { return e.text }

func (e *worded) Unwrap() error { return e.err }
