package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// checkPath is a check's path below its instance.
func checkPath(id string) string { return "/checks/" + url.PathEscape(id) }

// AddCheck gives an instance a check, or defines the check with that id anew. A check that asks the same as before keeps its
// status.
func (c *Client) AddCheck(ctx context.Context, k domain.Key, check domain.Check, options ...CommandOption) (Reply[wire.Result], error) {
	on := preconditionsOf(options)
	body := struct {
		domain.Check
		Epoch uint64 `json:"epoch,omitempty"`
		Owner string `json:"owner,omitempty"`
	}{check, on.epoch, on.owner}
	on.epoch, on.owner = 0, ""
	return c.command(ctx, http.MethodPut, k, checkPath(check.ID), body, on, nil)
}

// RemoveCheck takes a check from an instance.
func (c *Client) RemoveCheck(ctx context.Context, k domain.Key, id string, options ...CommandOption) (Reply[wire.Result], error) {
	return c.command(ctx, http.MethodDelete, k, checkPath(id), nil, preconditionsOf(options), nil)
}

// reportPaths are the routes by which a ttl check is reported.
var reportPaths = map[domain.Status]string{domain.Passing: "/pass", domain.Warning: "/warn", domain.Critical: "/fail"}

// ReportCheck reports the status of a ttl check, which is passing, warning or critical, and renews the check. output may be "".
func (c *Client) ReportCheck(ctx context.Context, k domain.Key, id string, status domain.Status, output string, options ...CommandOption) (Reply[wire.Result], error) {
	below, ok := reportPaths[status]
	if !ok {
		return Reply[wire.Result]{}, domain.InvalidField{Field: "status", Rule: "must be passing, warning or critical"}
	}
	on := preconditionsOf(options)
	body := struct {
		Output string `json:"output,omitempty"`
		Epoch  uint64 `json:"epoch,omitempty"`
		Owner  string `json:"owner,omitempty"`
	}{output, on.epoch, on.owner}
	on.epoch, on.owner = 0, ""
	return c.renewal(ctx, http.MethodPost, k, checkPath(id)+below, body, on)
}

// CheckReport is a report of one ttl check among many.
type CheckReport struct {
	Key    domain.Key
	Check  string        // its id
	Status domain.Status // "": passing
	Output string
	Epoch  uint64 // 0: any
	Owner  string // "": any
}

// ReportChecks reports many ttl checks at once. The reply has one result for each, in their order.
func (c *Client) ReportChecks(ctx context.Context, reports []CheckReport) (Reply[wire.BatchResult], error) {
	type item struct {
		Namespace string        `json:"namespace"`
		Service   string        `json:"service"`
		ID        string        `json:"id"`
		Check     string        `json:"check"`
		Status    domain.Status `json:"status,omitempty"`
		Output    string        `json:"output,omitempty"`
		Epoch     uint64        `json:"epoch,omitempty"`
		Owner     string        `json:"owner,omitempty"`
	}
	items := make([]item, len(reports))
	for i, r := range reports {
		k, err := c.key(r.Key)
		if err != nil {
			return Reply[wire.BatchResult]{}, err
		}
		items[i] = item{k.Namespace, k.Service, k.ID, r.Check, r.Status, r.Output, r.Epoch, r.Owner}
	}
	return ask[wire.BatchResult](ctx, c, request{method: http.MethodPost, path: "/v1/check-reports", body: items, repeatable: true})
}

// Checks lists the checks of a service's instances, or of one of them (id; "": all). statuses limits them to checks with any of
// the statuses.
func (c *Client) Checks(ctx context.Context, k domain.ServiceKey, id string, statuses ...domain.Status) (Reply[wire.CheckList], error) {
	path, query, err := c.service(k)
	if err != nil {
		return Reply[wire.CheckList]{}, err
	}
	set(query, "instance", id)
	for _, s := range statuses {
		query.Add("status", string(s))
	}
	return ask[wire.CheckList](ctx, c, get(path+"/checks", query))
}
