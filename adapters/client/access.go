package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func tokenPath(name string) string { return "/v1/access/tokens/" + url.PathEscape(name) }
func rolePath(name string) string  { return "/v1/access/roles/" + url.PathEscape(name) }

// CreateToken makes a token. Its secret is in this reply only.
func (c *Client) CreateToken(ctx context.Context, name string, spec domain.TokenSpec) (Reply[wire.Token], error) {
	return change[wire.Token](ctx, c, request{method: http.MethodPost, path: "/v1/access/tokens", body: wire.NewToken{Name: name, TokenSpec: spec}})
}

// Tokens lists the tokens that were not revoked.
func (c *Client) Tokens(ctx context.Context) (Reply[wire.TokenList], error) {
	return ask[wire.TokenList](ctx, c, get("/v1/access/tokens", nil))
}

// Token is one token, revoked or not.
func (c *Client) Token(ctx context.Context, name string) (Reply[wire.Token], error) {
	return ask[wire.Token](ctx, c, get(tokenPath(name), nil))
}

// RotateToken gives a token another secret, which is in this reply only.
func (c *Client) RotateToken(ctx context.Context, name string, how wire.Rotation) (Reply[wire.Token], error) {
	return change[wire.Token](ctx, c, request{method: http.MethodPost, path: tokenPath(name) + "/rotate", body: how})
}

// RevokeToken ends a token for ever.
func (c *Client) RevokeToken(ctx context.Context, name, reason string) error {
	return c.end(ctx, tokenPath(name), reason)
}

// Roles lists the built-in roles and the others.
func (c *Client) Roles(ctx context.Context) (Reply[wire.RoleList], error) {
	return ask[wire.RoleList](ctx, c, get("/v1/access/roles", nil))
}

// SetRole makes a role, or gives it other grants.
func (c *Client) SetRole(ctx context.Context, name string, role wire.RoleChange) (Reply[wire.Role], error) {
	return change[wire.Role](ctx, c, request{method: http.MethodPut, path: rolePath(name), body: role})
}

// RemoveRole ends a role that no token has.
func (c *Client) RemoveRole(ctx context.Context, name, reason string) error {
	return c.end(ctx, rolePath(name), reason)
}
