package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"strings"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// HistoryQuery picks entries of the history, and a page of them. At most one of Service, Instance and Webhook may be set.
// Without them the query is about the namespace, or with "" about every namespace.
type HistoryQuery struct {
	Namespace string
	Service   domain.ServiceKey
	Instance  domain.Key
	Webhook   string // its id

	From, To Moment
	Types    []string
	Actor    string
	Via      string
	Reason   string // text that the reason or the output contains
	Oldest   bool   // oldest first
	Limit    int    // most entries of a page; 0: the registry's default
	Cursor   string // Next of the previous page; "": the first page
}

func (c *Client) historyRequest(q HistoryQuery) (r request, err error) {
	switch {
	case q.Webhook != "":
		r = get("/v1/webhooks/"+url.PathEscape(q.Webhook)+"/history", url.Values{})
	case q.Instance != domain.Key{}:
		r, err = c.instance("GET", q.Instance, "/history")
	case q.Service != domain.ServiceKey{}:
		var path string
		var query url.Values
		path, query, err = c.service(q.Service)
		r = get(path+"/history", query)
	default:
		r = get("/v1/history", url.Values{})
		set(r.query, "ns", q.Namespace)
	}
	for name, value := range map[string]string{
		"from": string(q.From), "to": string(q.To), "type": strings.Join(q.Types, ","), "actor": q.Actor, "via": q.Via, "reason": q.Reason, "cursor": q.Cursor,
	} {
		set(r.query, name, value)
	}
	if q.Oldest {
		r.query.Set("order", "oldest")
	}
	if q.Limit > 0 {
		r.query.Set("limit", strconv.Itoa(q.Limit))
	}
	return r, err
}

// History is one page of the history. The next page has the page's Next as Cursor.
func (c *Client) History(ctx context.Context, q HistoryQuery) (Reply[wire.HistoryPage], error) {
	r, err := c.historyRequest(q)
	if err != nil {
		return Reply[wire.HistoryPage]{}, err
	}
	page, err := ask[wire.HistoryPage](ctx, c, r)
	if err == nil {
		err = moved(q.Cursor, page.Value.Next)
	}
	return page, err
}

// HistoryEntries yields the entries of all pages, from the page of q on. An error ends the sequence.
func (c *Client) HistoryEntries(ctx context.Context, q HistoryQuery) iter.Seq2[wire.HistoryEntry, error] {
	return func(yield func(wire.HistoryEntry, error) bool) {
		for {
			page, err := c.History(ctx, q)
			if err != nil {
				yield(wire.HistoryEntry{}, err)
				return
			}
			for _, e := range page.Value.Entries {
				if !yield(e, nil) {
					return
				}
			}
			q.Cursor = page.Value.Next
			if q.Cursor == "" {
				return
			}
		}
	}
}
