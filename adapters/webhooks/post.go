package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rollcall-registry/rollcall/adapters/client"
)

// maxAnswer is how much of a target's answer is read.
const maxAnswer = 64 << 10

// answer is what a target says to a message. The zero value means that it says nothing.
type answer struct {
	status int
	after  time.Duration // how long the target asks not to be tried again
}

// post sends a message, signed as Standard Webhooks (standardwebhooks.com) have it.
func (d *Deliverer) post(ctx context.Context, target, secret string, m *message.Message) (answer, error) {
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return answer{}, err
	}
	now := d.opts.Now()
	signature, err := signer.Sign(m.UUID, now, m.Payload)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(m.Payload))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	r.Header.Set("User-Agent", "rollcall")
	r.Header.Set(standardwebhooks.HeaderWebhookID, m.UUID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, fmt.Sprint(now.Unix()))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	resp, err := d.client.Do(r)
	if err != nil {
		return answer{}, bounded(withoutURL(err))
	}
	client.NoUpgrade(resp)
	said := answer{resp.StatusCode, retryAfter(resp.StatusCode, resp.Header, d.opts.Now())}
	// The body is read only so that the connection can be used again. Its end is waited for shortly, and an error changes nothing: the
	// status has said all.
	rest := time.AfterFunc(slow, cancel)
	defer rest.Stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	return said, nil
}

// withoutURL is the cause of a client's error: the error itself names the URL, in which there may be a token.
func withoutURL(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// maxCause is how many bytes are kept of why an attempt failed.
const maxCause = 512

// bounded is an error in at most maxCause bytes that can be shown. A target has its own words in many errors, as in the line of its status: they
// go into the server's log, into the log of deliveries, and as the reason of a pause into an event.
func bounded(err error) error {
	text := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, err.Error())
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + " (cut short)"
	}
	return errors.New(text)
}

// newClient is a client that looks at the address it is about to connect to: after the name was
// resolved, and for each redirect again.
func newClient(allow bool, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		if !allow && forbidden(host) {
			return notAllowed(host)
		}
		return nil
	}}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout,
			MaxResponseHeaderBytes: maxAnswer, ForceAttemptHTTP2: true, DisableCompression: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("the target redirects more than 3 times")
			}
			if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("the target redirects to %s", r.URL.Scheme)
			}
			if r.Method != http.MethodPost { // what would be sent is a GET without the event, and its 200 would pass for a delivery
				return fmt.Errorf("the target redirects with %s, after which the event would not be sent: 307 and 308 are followed", r.Response.Status)
			}
			if r.URL.Scheme == "http" && via[0].URL.Scheme == "https" {
				return errors.New("the target redirects from https to http")
			}
			if host := r.URL.Hostname(); !allow && forbidden(host) {
				return fmt.Errorf("the target redirects: %w", notAllowed(host))
			}
			return nil
		},
	}
}

func notAllowed(host string) error {
	return fmt.Errorf("%s is a loopback, link-local, private or reserved address, which is not allowed", host)
}
