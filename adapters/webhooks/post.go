package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxAnswer is how much of a target's answer is read.
const maxAnswer = 64 << 10

// post sends a message, signed as Standard Webhooks (standardwebhooks.com) have it.
func (d *Deliverer) post(ctx context.Context, url, secret string, m *message.Message) (status int, err error) {
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return 0, err
	}
	now := d.opts.Now()
	signature, err := signer.Sign(m.UUID, now, m.Payload)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Payload))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	r.Header.Set("User-Agent", "rollcall")
	r.Header.Set(standardwebhooks.HeaderWebhookID, m.UUID)
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, fmt.Sprint(now.Unix()))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	resp, err := d.client.Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return 0, fmt.Errorf("the target's answer broke off: %w", err)
	}
	return resp.StatusCode, nil
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
			return fmt.Errorf("%s is a loopback, link-local or private address, which is not allowed", host)
		}
		return nil
	}}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout,
			MaxResponseHeaderBytes: maxAnswer, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("the target redirects more than 3 times")
			}
			if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("the target redirects to %s", r.URL.Scheme)
			}
			return nil
		},
	}
}

// shared is the range of carrier-grade NAT (RFC 6598), benchmarking is RFC 2544's.
var (
	shared       = netip.MustParsePrefix("100.64.0.0/10")
	benchmarking = netip.MustParsePrefix("198.18.0.0/15")
	nat64        = netip.MustParsePrefix("64:ff9b::/96")
)

// forbidden says whether a host is an address that webhooks must not reach unless they are allowed to.
// A name is not; what it resolves to is looked at when it is dialed.
func forbidden(host string) bool {
	if name := strings.TrimSuffix(strings.ToLower(host), "."); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) { // an IPv4 address inside
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return !ip.IsValid() || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsMulticast() || ip.IsUnspecified() ||
		ip.IsInterfaceLocalMulticast() || shared.Contains(ip) || benchmarking.Contains(ip) || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
