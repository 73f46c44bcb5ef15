// Package rollcallhttp sends HTTP requests to services of a registry: a request for http://checkout.rollcall/cart goes to a
// ready instance of the service checkout.
//
// A host has the form [_port.]service[.namespace.ns].rollcall, such as checkout.rollcall, checkout.prod.ns.rollcall or
// _admin.checkout.rollcall. Requests for other hosts go to the base transport as they are.
//
// A request that fails is sent to another instance, if the request may be repeated: its method is idempotent, or it never
// reached an instance, and its body can be read again.
package rollcallhttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-registry/rollcall/adapters/client/pick"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/domain"
)

// Options are the options of a Transport. The zero value is usable.
type Options struct {
	Pick pick.Options // Port is that of hosts which name none
	// Key gives the key of a request where the policy is pick.Rendezvous; nil: the request's path.
	Key func(*http.Request) string

	Base     http.RoundTripper // nil: http.DefaultTransport
	Attempts int               // how often a request is sent at most; 0: 3
	// Wait is how long a request waits where nothing is known of the service yet; 0: 5s.
	Wait time.Duration
}

// Suffix ends the hosts that stand for services.
const Suffix = ".rollcall"

// Transport is an http.RoundTripper. Several goroutines may use it.
type Transport struct {
	watcher *watch.Watcher
	options Options
	budget  budget

	mu      sync.Mutex
	targets map[string]*target // by host
}

// target is a service and port to which requests go.
type target struct {
	service *watch.Service
	*pick.Balancer
	stop func()
}

// New is a Transport that finds instances with a watcher.
func New(w *watch.Watcher, options Options) *Transport {
	if options.Base == nil {
		options.Base = http.DefaultTransport
	}
	options.Attempts, options.Wait = cmp.Or(options.Attempts, 3), cmp.Or(options.Wait, 5*time.Second)
	t := &Transport{watcher: w, options: options, targets: map[string]*target{}}
	t.budget.left.Store(budgetFull)
	return t
}

// Close ends the watching of all services to which requests were sent.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for host, target := range t.targets {
		target.stop()
		target.service.Close()
		delete(t.targets, host)
	}
}

// NoInstance says that a request was not sent, because no instance of the service is ready.
type NoInstance struct {
	Service domain.ServiceKey
	Err     error // pick.ErrNone, or why nothing is known of the service
}

func (e *NoInstance) Error() string { return fmt.Sprintf("service %s: %v", e.Service, e.Err) }

func (e *NoInstance) Unwrap() error { return e.Err }

// parseHost reads a host that stands for a service.
func parseHost(host string) (key domain.ServiceKey, port string, ok bool) {
	name, ok := strings.CutSuffix(host, Suffix)
	if !ok {
		return key, "", false
	}
	if strings.HasPrefix(name, "_") {
		port, name, _ = strings.Cut(name[1:], ".")
	}
	key.Service = name
	if rest, isNamed := strings.CutSuffix(name, ".ns"); isNamed {
		if i := strings.LastIndexByte(rest, '.'); i > 0 {
			key.Service, key.Namespace = rest[:i], rest[i+1:]
		}
	}
	return key, port, true
}

// target is where requests for a host go.
func (t *Transport) target(host string, key domain.ServiceKey, port string) (*target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.targets[host]; known != nil {
		return known, nil
	}
	service, err := t.watcher.Service(key)
	if err != nil {
		return nil, err
	}
	options := t.options.Pick
	options.Port = cmp.Or(port, options.Port)
	made := &target{service: service, Balancer: pick.New(options)}
	made.stop = service.Listen(made.Update)
	t.targets[host] = made
	return made, nil
}

// RoundTrip sends a request to an instance, and again to another one after a failure.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	key, port, ok := parseHost(r.URL.Hostname())
	if !ok {
		return t.options.Base.RoundTrip(r)
	}
	target, err := t.target(r.URL.Hostname(), key, port)
	if err == nil {
		err = t.await(r.Context(), target)
	}
	if err != nil {
		closeBody(r)
		return nil, err
	}
	t.budget.request()
	var tried []*pick.Endpoint
	var last *http.Response
	var failure error
	for {
		endpoint, err := t.pick(target, r, tried)
		if err != nil && len(tried) == 0 {
			closeBody(r)
			return nil, &NoInstance{target.service.Key(), err}
		}
		if err != nil { // there is no other instance
			return last, failure
		}
		if len(tried) > 0 {
			discard(last)
			if r, failure = again(r); failure != nil {
				return nil, failure
			}
		}
		tried = append(tried, endpoint)
		last, failure = t.send(endpoint, r)
		if len(tried) == t.options.Attempts || !repeatable(r, last, failure) || !t.budget.retry() {
			return last, failure
		}
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// await waits until something is known of the service.
func (t *Transport) await(ctx context.Context, target *target) error {
	if _, known := target.service.Instances(); known {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.options.Wait)
	defer cancel()
	if err := target.service.Wait(ctx); err != nil {
		return &NoInstance{target.service.Key(), err}
	}
	return nil
}

func (t *Transport) pick(target *target, r *http.Request, tried []*pick.Endpoint) (*pick.Endpoint, error) {
	key := ""
	if t.options.Pick.Policy == pick.Rendezvous {
		key = r.URL.Path
		if t.options.Key != nil {
			key = t.options.Key(r)
		}
	}
	switch {
	case len(tried) > 0:
		return target.PickOther(key, tried)
	case key != "":
		return target.PickKey(key)
	}
	return target.Pick()
}

// send sends a request to an instance, and notes the outcome.
func (t *Transport) send(e *pick.Endpoint, r *http.Request) (*http.Response, error) {
	sent := r.Clone(r.Context())
	sent.URL.Host = e.Address
	sent.Host = cmp.Or(r.Host, r.URL.Host)
	e.Begin()
	began := time.Now()
	resp, err := t.options.Base.RoundTrip(sent)
	took := time.Since(began)
	if err != nil {
		e.Done(took, !errors.Is(r.Context().Err(), context.Canceled))
		return nil, err
	}
	done := sync.OnceFunc(func() { e.Done(took, isAway(resp.StatusCode)) })
	if w, both := resp.Body.(io.Writer); both { // the connection was upgraded
		resp.Body = &upgradedBody{countedBody{resp.Body, done}, w}
	} else {
		resp.Body = &countedBody{resp.Body, done}
	}
	return resp, nil
}

// isAway says whether an answer means that the instance does not serve.
func isAway(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// countedBody is the body of a reply. The request is outstanding until the body is closed or read to its end.
type countedBody struct {
	io.ReadCloser
	done func()
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *countedBody) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

type upgradedBody struct {
	countedBody
	io.Writer
}

// repeatable says whether a request whose outcome is a reply or an error should and may be sent to another instance.
func repeatable(r *http.Request, resp *http.Response, err error) bool {
	if r.Context().Err() != nil || err == nil && !isAway(resp.StatusCode) {
		return false
	}
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return false // the body is read, and cannot be read again
	}
	var dial *net.OpError
	neverSent := errors.As(err, &dial) && dial.Op == "dial"
	return neverSent || idempotent(r)
}

// idempotent says whether a request may be carried out twice (RFC 9110, 9.2.2), or carries a key that tells repetitions.
func idempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != ""
}

// again is a request with its body from the beginning.
func again(r *http.Request) (*http.Request, error) {
	if r.GetBody == nil {
		return r, nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	repeated := *r
	repeated.Body = body
	return &repeated, nil
}

// discard gives a reply back that is not used. A short one is read, so that its connection is used again.
func discard(resp *http.Response) {
	if resp == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}

// budget bounds the share of repetitions, so that a service whose instances all fail does not get several times its load.
type budget struct{ left atomic.Int64 }

// A repetition costs as much as five requests give, up to ten repetitions.
const (
	perRequest = 1
	perRetry   = 5
	budgetFull = 10 * perRetry
)

func (b *budget) request() {
	if b.left.Add(perRequest) > budgetFull {
		b.left.Store(budgetFull)
	}
}

func (b *budget) retry() bool {
	if b.left.Add(-perRetry) < 0 {
		b.left.Add(perRetry)
		return false
	}
	return true
}
