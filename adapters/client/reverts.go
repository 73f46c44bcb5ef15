package client

import (
	"context"
	"net/http"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Revert plans a revert (DryRun), or carries it out.
func (c *Client) Revert(ctx context.Context, r wire.RevertRequest) (Reply[wire.Revert], error) {
	return change[wire.Revert](ctx, c, request{method: http.MethodPost, path: "/v1/reverts", body: r})
}
