package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Cluster says how the cluster is, as the node that is asked sees it.
func (c *Client) Cluster(ctx context.Context) (Reply[wire.ClusterStatus], error) {
	return ask[wire.ClusterStatus](ctx, c, get("/v1/cluster", nil))
}

// AddMember makes a node that was started to join a member of the cluster. The reply comes when the node has a vote.
func (c *Client) AddMember(ctx context.Context, m domain.Member, reason string) (Reply[wire.ClusterStatus], error) {
	return ask[wire.ClusterStatus](ctx, c, request{method: http.MethodPost, path: "/v1/cluster/members", body: wire.NewMember{Member: m, Reason: reason}, timeout: wire.AddMemberTimeout})
}

// RemoveMember takes a node out of the cluster. Another node than that one must be asked.
func (c *Client) RemoveMember(ctx context.Context, id, reason string) (Reply[wire.ClusterStatus], error) {
	query := url.Values{}
	set(query, "reason", reason)
	return ask[wire.ClusterStatus](ctx, c, request{method: http.MethodDelete, path: "/v1/cluster/members/" + url.PathEscape(id), query: query})
}

// MoveLead gives the lead to a member; id "": to the most current one. The reply comes when that one leads.
func (c *Client) MoveLead(ctx context.Context, id string) (Reply[wire.ClusterStatus], error) {
	return ask[wire.ClusterStatus](ctx, c, request{method: http.MethodPut, path: "/v1/cluster/leader", body: wire.NewLeader{ID: id}})
}
