package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Moment is a moment in the form of the API: an RFC 3339 time, a position, "5m ago" or "now". The zero value names no
// moment.
type Moment string

// At makes a moment of a time.
func At(t time.Time) Moment { return Moment(t.UTC().Format(time.RFC3339Nano)) }

// AtPosition makes a moment of a position.
func AtPosition(p wire.Position) Moment { return Moment(p.String()) }

// InstanceFilter picks instances. The zero value picks all instances.
type InstanceFilter struct {
	Ready    bool // only instances that may get traffic
	Statuses []domain.Status
	Tags     []string // the instance has all of these tags
	Zone     string
	Version  string
	Metadata map[string]string // the instance has all of these pairs
	// MaxSilence leaves out instances that were silent for more than so many times their ttl, at least 1; 0: none.
	// It goes with no past moment, no wait and no stream, and a registry that has just started leaves out none.
	MaxSilence float64
	// Checks are checks that the instance has, each as "id", "id:status" or "*:status".
	Checks []string
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
	for _, check := range f.Checks {
		q.Add("check", check)
	}
	if f.MaxSilence != 0 {
		q.Set("max_silence", strconv.FormatFloat(f.MaxSilence, 'g', -1, 64))
	}
}

// set sets a parameter, unless its value is empty.
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

// Namespaces lists the namespaces that have instances, now or at a moment.
func (c *Client) Namespaces(ctx context.Context, at Moment) (Reply[wire.NamespaceList], error) {
	query := url.Values{}
	set(query, "at", at)
	return ask[wire.NamespaceList](ctx, c, get("/v1/namespaces", query))
}

// Services lists a namespace's services ("": of every namespace), now or at a moment. A list may be long: ServicesPage and
// EachService read it in pages.
func (c *Client) Services(ctx context.Context, namespace string, at Moment) (Reply[wire.ServiceList], error) {
	return ask[wire.ServiceList](ctx, c, servicesRequest(namespace, at))
}

func servicesRequest(namespace string, at Moment) request {
	if namespace == "" {
		namespace = "*"
	}
	query := url.Values{"ns": {namespace}}
	set(query, "at", at)
	return get("/v1/services", query)
}

// Service summarizes one service, now or at a moment.
func (c *Client) Service(ctx context.Context, k domain.ServiceKey, at Moment) (Reply[wire.ServiceSummary], error) {
	path, query, err := c.service(k)
	if err != nil {
		return Reply[wire.ServiceSummary]{}, err
	}
	set(query, "at", at)
	return ask[wire.ServiceSummary](ctx, c, get(path, query))
}

// InstancesQuery picks instances of a service.
type InstancesQuery struct {
	InstanceFilter
	At     Moment // "": now
	Leases bool   // with the time at which each lease ends
	// Index and Wait make a long poll: the registry answers when the service's position is not Index any more, or when
	// Wait is over. Wait 0: the registry answers at once.
	Index wire.Position
	Wait  time.Duration
}

// Instances lists instances of a service. A list may be long: InstancesPage and EachInstance read it in pages.
func (c *Client) Instances(ctx context.Context, k domain.ServiceKey, q InstancesQuery) (Reply[wire.InstanceList], error) {
	r, err := c.instancesRequest(k, q)
	if err != nil {
		return Reply[wire.InstanceList]{}, err
	}
	return ask[wire.InstanceList](ctx, c, r)
}

func (c *Client) instancesRequest(k domain.ServiceKey, q InstancesQuery) (request, error) {
	path, query, err := c.service(k)
	if err != nil {
		return request{}, err
	}
	q.set(query)
	set(query, "at", q.At)
	if q.Leases {
		query.Set("leases", "true")
	}
	r := get(path+"/instances", query)
	c.wait(&r, q.Index, q.Wait)
	return r, nil
}

// Instance is one instance, now or at a moment. If the instance is gone, the error is a *wire.Problem with the event that
// took the instance out.
func (c *Client) Instance(ctx context.Context, k domain.Key, at Moment) (Reply[wire.Instance], error) {
	r, err := c.instance("GET", k, "")
	if err != nil {
		return Reply[wire.Instance]{}, err
	}
	set(r.query, "at", at)
	return ask[wire.Instance](ctx, c, r)
}

// Catalog has all services of a namespace ("": of every namespace) with their instances, now or at a moment. A catalog may be
// large: CatalogPage and EachOfCatalog read it in pages.
func (c *Client) Catalog(ctx context.Context, namespace string, at Moment) (Reply[wire.Catalog], error) {
	return c.CatalogOf(ctx, CatalogQuery{Namespace: namespace, At: at})
}

// Diff gives the differences of the catalog between two moments ("": now), with the newest event of each instance.
func (c *Client) Diff(ctx context.Context, from, to Moment) (Reply[wire.Diff], error) {
	return c.DiffIn(ctx, "", from, to)
}

// DiffIn is Diff within a namespace; "": within all.
func (c *Client) DiffIn(ctx context.Context, namespace string, from, to Moment) (Reply[wire.Diff], error) {
	query := url.Values{"from": {string(from)}}
	set(query, "ns", namespace)
	set(query, "to", to)
	return pages(ctx, c, "/v1/diff", query, func(d *wire.Diff) *string { return &d.Next }, func(d *wire.Diff, next wire.Diff) {
		d.Added, d.Removed, d.Changed = append(d.Added, next.Added...), append(d.Removed, next.Removed...), append(d.Changed, next.Changed...)
	})
}

// Head is the position that the registry's catalog has reached.
func (c *Client) Head(ctx context.Context) (wire.Position, error) {
	reply, err := c.Services(ctx, c.options.Namespace, "")
	return reply.Position, err
}
