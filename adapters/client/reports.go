package client

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// ReportQuery says over what span a report is. The zero To is now.
type ReportQuery struct {
	From, To Moment
	Below    int // periods with fewer ready instances are listed; 0: 1
}

func (q ReportQuery) set(query url.Values) url.Values {
	set(query, "from", q.From)
	set(query, "to", q.To)
	if q.Below > 0 {
		query.Set("below", strconv.Itoa(q.Below))
	}
	return query
}

// ReportNamespace tells in figures what happened to a namespace.
func (c *Client) ReportNamespace(ctx context.Context, namespace string, q ReportQuery) (Reply[wire.Report], error) {
	if err := domain.ValidateLabel("namespace", namespace); err != nil {
		return Reply[wire.Report]{}, err
	}
	return ask[wire.Report](ctx, c, get("/v1/reports/namespaces/"+url.PathEscape(namespace), q.set(url.Values{})))
}

// ReportService tells in figures what happened to a service.
func (c *Client) ReportService(ctx context.Context, k domain.ServiceKey, q ReportQuery) (Reply[wire.Report], error) {
	_, query, err := c.service(k)
	if err != nil {
		return Reply[wire.Report]{}, err
	}
	return ask[wire.Report](ctx, c, get("/v1/reports/services/"+url.PathEscape(k.Service), q.set(query)))
}

// ReportInstance tells in figures what happened to an instance.
func (c *Client) ReportInstance(ctx context.Context, k domain.Key, q ReportQuery) (Reply[wire.Report], error) {
	r, err := c.instance("GET", k, "")
	if err != nil {
		return Reply[wire.Report]{}, err
	}
	path := "/v1/reports/services/" + url.PathEscape(k.Service) + "/instances/" + url.PathEscape(k.ID)
	return ask[wire.Report](ctx, c, get(path, q.set(r.query)))
}

// TimelineQuery says of what span a timeline is. The zero To is now.
type TimelineQuery struct {
	From, To Moment
	Limit    int // intervals that begin in the span, at most; 0: the registry's default
}

func (q TimelineQuery) set(query url.Values) url.Values {
	set(query, "from", q.From)
	set(query, "to", q.To)
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	return query
}

// ServiceTimeline gives the states of the instances of a service as intervals.
func (c *Client) ServiceTimeline(ctx context.Context, k domain.ServiceKey, q TimelineQuery) (Reply[wire.Timeline], error) {
	_, query, err := c.service(k)
	if err != nil {
		return Reply[wire.Timeline]{}, err
	}
	return ask[wire.Timeline](ctx, c, get("/v1/timeline/services/"+url.PathEscape(k.Service), q.set(query)))
}

// InstanceTimeline gives the states of an instance as intervals.
func (c *Client) InstanceTimeline(ctx context.Context, k domain.Key, q TimelineQuery) (Reply[wire.Timeline], error) {
	r, err := c.instance("GET", k, "")
	if err != nil {
		return Reply[wire.Timeline]{}, err
	}
	path := "/v1/timeline/services/" + url.PathEscape(k.Service) + "/instances/" + url.PathEscape(k.ID)
	return ask[wire.Timeline](ctx, c, get(path, q.set(r.query)))
}

// HistogramQuery picks the events that a histogram counts. The zero To is now.
type HistogramQuery struct {
	Namespace string // "": every namespace, and events of none
	Service   string // needs a namespace
	Types     []string
	From, To  Moment
	Buckets   int // 0: the registry's default
}

// Histogram counts events by type in equal parts of a span.
func (c *Client) Histogram(ctx context.Context, q HistogramQuery) (Reply[wire.Histogram], error) {
	query := url.Values{}
	for name, value := range map[string]string{
		"ns": q.Namespace, "service": q.Service, "type": strings.Join(q.Types, ","), "from": string(q.From), "to": string(q.To),
	} {
		set(query, name, value)
	}
	if q.Buckets > 0 {
		query.Set("buckets", strconv.Itoa(q.Buckets))
	}
	return ask[wire.Histogram](ctx, c, get("/v1/histogram", query))
}
