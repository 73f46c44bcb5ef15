package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Preservation says whether expiry is held in a namespace, or ("") in each namespace that has leases.
func (c *Client) Preservation(ctx context.Context, namespace string) (Reply[wire.Preservation], error) {
	query := url.Values{}
	set(query, "ns", namespace)
	return ask[wire.Preservation](ctx, c, get("/v1/preservation", query))
}

// HoldExpiry holds expiry in a namespace ("*": in every namespace) until EndPreservation.
func (c *Client) HoldExpiry(ctx context.Context, namespace, reason string) (Reply[wire.Preservation], error) {
	return c.changePreservation(ctx, namespace, reason, true)
}

// EndPreservation lets the leases of a namespace ("*": of every namespace) expire again, whether an operator or the
// registry held expiry.
func (c *Client) EndPreservation(ctx context.Context, namespace, reason string) (Reply[wire.Preservation], error) {
	return c.changePreservation(ctx, namespace, reason, false)
}

func (c *Client) changePreservation(ctx context.Context, namespace, reason string, held bool) (Reply[wire.Preservation], error) {
	return change[wire.Preservation](ctx, c, request{
		method: http.MethodPut, path: "/v1/preservation", query: url.Values{"ns": {namespace}}, body: wire.PreservationChange{Held: &held, Reason: reason},
	})
}
