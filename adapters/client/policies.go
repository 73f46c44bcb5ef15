package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func policyPath(name string) string { return "/v1/policies/" + url.PathEscape(name) }

// Policies lists the policies.
func (c *Client) Policies(ctx context.Context) (Reply[wire.PolicyList], error) {
	return ask[wire.PolicyList](ctx, c, get("/v1/policies", nil))
}

// Policy is one policy.
func (c *Client) Policy(ctx context.Context, name string) (Reply[wire.Policy], error) {
	return ask[wire.Policy](ctx, c, get(policyPath(name), nil))
}

// SetPolicy makes a policy, or gives it another specification.
func (c *Client) SetPolicy(ctx context.Context, name string, spec domain.PolicySpec) (Reply[wire.Policy], error) {
	return change[wire.Policy](ctx, c, request{method: http.MethodPut, path: policyPath(name), body: spec})
}

// RemovePolicy ends a policy.
func (c *Client) RemovePolicy(ctx context.Context, name, reason string) error {
	return c.end(ctx, policyPath(name), reason)
}
