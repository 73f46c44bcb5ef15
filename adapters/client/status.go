package client

import (
	"context"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Status says how the registry's node is that the client asks.
func (c *Client) Status(ctx context.Context) (Reply[wire.Status], error) {
	return ask[wire.Status](ctx, c, get("/v1/status", nil))
}
