package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Preservation says where expiry is held: in a namespace, or ("") in all that have leases.
func (c *Client) Preservation(ctx context.Context, namespace string) (Reply[wire.Preservation], error) {
	query := url.Values{}
	set(query, "ns", namespace)
	return ask[wire.Preservation](ctx, c, get("/v1/preservation", query))
}

// HoldExpiry has no lease of a namespace ("*": of any) expire until EndPreservation.
func (c *Client) HoldExpiry(ctx context.Context, namespace, reason string) (Reply[wire.Preservation], error) {
	return c.changePreservation(ctx, namespace, reason, true)
}

// EndPreservation lets leases of a namespace ("*": of every one) expire again, whoever held them.
func (c *Client) EndPreservation(ctx context.Context, namespace, reason string) (Reply[wire.Preservation], error) {
	return c.changePreservation(ctx, namespace, reason, false)
}

func (c *Client) changePreservation(ctx context.Context, namespace, reason string, held bool) (Reply[wire.Preservation], error) {
	return ask[wire.Preservation](ctx, c, request{
		method: http.MethodPut, path: "/v1/preservation", query: url.Values{"ns": {namespace}}, body: wire.PreservationChange{Held: &held, Reason: reason},
	})
}
