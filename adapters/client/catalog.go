package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Moment is a point in the past as the registry takes it: an RFC 3339 time, a position, "5m ago" or
// "now". The zero value is none.
type Moment string

// At is a time as a moment.
func At(t time.Time) Moment { return Moment(t.UTC().Format(time.RFC3339Nano)) }

// AtPosition is a position as a moment.
func AtPosition(p wire.Position) Moment { return Moment(p.String()) }

// InstanceFilter picks instances; the zero value picks all.
type InstanceFilter struct {
	Ready    bool // only those that may get traffic
	Statuses []domain.Status
	Tags     []string // all of them
	Zone     string
	Version  string
	Metadata map[string]string // all of the pairs
	// MaxSilence leaves out instances that were silent for more than so many times their ttl, at least 1; 0: none.
	// It goes with no past moment, no wait and no stream, and a registry that has just started leaves out none.
	MaxSilence float64
}

func (f InstanceFilter) set(q url.Values) {
	if f.Ready {
		q.Set("ready", "true")
	}
	for _, s := range f.Statuses {
		q.Add("status", string(s))
	}
	for _, t := range f.Tags {
		q.Add("tag", t)
	}
	set(q, "zone", f.Zone)
	set(q, "version", f.Version)
	for name, value := range f.Metadata {
		q.Set("meta."+name, value)
	}
	if f.MaxSilence != 0 {
		q.Set("max_silence", strconv.FormatFloat(f.MaxSilence, 'g', -1, 64))
	}
}

// set sets a parameter that has a value.
func set[S ~string](q url.Values, name string, value S) {
	if value != "" {
		q.Set(name, string(value))
	}
}

// service completes a service's key with the client's namespace, and checks it.
func (c *Client) service(k domain.ServiceKey) (path string, query url.Values, err error) {
	if k.Namespace == "" {
		k.Namespace = c.options.Namespace
	}
	return "/v1/services/" + url.PathEscape(k.Service), url.Values{"ns": {k.Namespace}}, k.Validate()
}

// Services lists a namespace's services ("": of every namespace), now or at a moment.
func (c *Client) Services(ctx context.Context, namespace string, at Moment) (Reply[wire.ServiceList], error) {
	if namespace == "" {
		namespace = "*"
	}
	query := url.Values{"ns": {namespace}}
	set(query, "at", at)
	return ask[wire.ServiceList](ctx, c, get("/v1/services", query))
}

// InstancesQuery asks for some of a service's instances.
type InstancesQuery struct {
	InstanceFilter
	At     Moment // "": now
	Leases bool   // with the time at which each lease ends
	// Index and Wait make a long poll: the registry answers when the service's position is no longer
	// Index, or when Wait is over. Wait 0: at once.
	Index wire.Position
	Wait  time.Duration
}

// Instances lists instances of a service.
func (c *Client) Instances(ctx context.Context, k domain.ServiceKey, q InstancesQuery) (Reply[wire.InstanceList], error) {
	path, query, err := c.service(k)
	if err != nil {
		return Reply[wire.InstanceList]{}, err
	}
	q.set(query)
	set(query, "at", q.At)
	if q.Leases {
		query.Set("leases", "true")
	}
	r := get(path+"/instances", query)
	if q.Wait > 0 {
		query.Set("wait", q.Wait.String())
		query.Set("index", q.Index.String())
		r.timeout = c.options.Timeout + q.Wait + q.Wait/8 // the registry spreads those who wait for the same time
	}
	return ask[wire.InstanceList](ctx, c, r)
}

// Instance is one instance, now or at a moment. One that is gone is a *wire.Problem that says which
// event took it out.
func (c *Client) Instance(ctx context.Context, k domain.Key, at Moment) (Reply[wire.Instance], error) {
	r, err := c.instance("GET", k, "")
	if err != nil {
		return Reply[wire.Instance]{}, err
	}
	set(r.query, "at", at)
	return ask[wire.Instance](ctx, c, r)
}

// Catalog is everything in a namespace ("": in every namespace), now or at a moment.
func (c *Client) Catalog(ctx context.Context, namespace string, at Moment) (Reply[wire.Catalog], error) {
	query := url.Values{}
	set(query, "ns", namespace)
	set(query, "at", at)
	return ask[wire.Catalog](ctx, c, get("/v1/catalog", query))
}

// Diff says what differs between two moments ("": now), and which events did it.
func (c *Client) Diff(ctx context.Context, from, to Moment) (Reply[wire.Diff], error) {
	query := url.Values{"from": {string(from)}}
	set(query, "to", to)
	return ask[wire.Diff](ctx, c, get("/v1/diff", query))
}

// Head is the position up to which the registry's catalog is.
func (c *Client) Head(ctx context.Context) (wire.Position, error) {
	reply, err := c.Services(ctx, c.options.Namespace, "")
	return reply.Position, err
}
