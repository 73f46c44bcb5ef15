package client

import (
	"context"
	"net/url"
	"strconv"

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
