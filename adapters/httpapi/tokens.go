package httpapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/access"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// socketOnly refuses changes of access from the network while access is not controlled: whoever reaches the port could
// make a token for later.
func (a *api) socketOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if who := web.IdentityOf(c); a.Tokens == nil || !who.Local && !who.Controlled() {
			return problem(http.StatusForbidden, "local-only", "Only through the socket in the data folder", "access is not controlled here; run rollcall token --data or rollcall role --data on the registry's machine, or the server with --access on")
		}
		return next(c)
	}
}

func showToken(t access.Listed) wire.Token {
	shown := wire.Token{Name: t.Name, TokenSpec: t.Spec, Revoked: t.Revoked, Reason: t.Reason}
	if !t.LastUsed.IsZero() {
		shown.LastUsed = &t.LastUsed
	}
	return shown
}

func (a *api) listTokens(c echo.Context) error {
	shown := []wire.Token{}
	for _, t := range a.Tokens.Tokens() {
		shown = append(shown, showToken(t))
	}
	return c.JSON(http.StatusOK, wire.TokenList{Tokens: shown})
}

func (a *api) getToken(c echo.Context) error {
	return a.answerToken(c, http.StatusOK, pathPart(c, "name"), "")
}

func (a *api) answerToken(c echo.Context, status int, name, secret string) error {
	t, ok := a.Tokens.Token(name)
	if !ok {
		return domain.UnknownToken{Name: name}
	}
	shown := showToken(t)
	shown.Secret = secret
	if secret != "" {
		c.Response().Header().Set("Cache-Control", "no-store")
	}
	return c.JSON(status, shown)
}

func (a *api) createToken(c echo.Context) error {
	var body wire.NewToken
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	body.Expires = body.Expires.UTC()
	secret, err := a.AccessCommands.Create(c.Request().Context(), caller(c), body.Name, body.TokenSpec)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", "/v1/access/tokens/"+url.PathEscape(body.Name))
	return a.answerToken(c, http.StatusCreated, body.Name, secret)
}

func (a *api) rotateToken(c echo.Context) error {
	var body wire.Rotation
	if err := decodeBody(c, &body, true); err != nil {
		return err
	}
	if body.KeepOld < 0 || time.Duration(body.KeepOld) > domain.MaxKeepOld {
		return invalidField("keep_old", "must be at most 720h, and not negative")
	}
	name := pathPart(c, "name")
	secret, err := a.AccessCommands.Rotate(c.Request().Context(), caller(c), name, time.Duration(body.KeepOld), body.Expires)
	if err != nil {
		return err
	}
	return a.answerToken(c, http.StatusOK, name, secret)
}

func (a *api) revokeToken(c echo.Context) error {
	return a.changeAccess(c, domain.RevokeToken{Name: pathPart(c, "name"), Reason: c.QueryParam("reason")})
}

func (a *api) listRoles(c echo.Context) error {
	shown := []wire.Role{}
	for _, r := range a.Tokens.Roles() {
		shown = append(shown, wire.Role(r))
	}
	return c.JSON(http.StatusOK, wire.RoleList{Roles: shown})
}

func (a *api) setRole(c echo.Context) error {
	var body wire.RoleChange
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	name := pathPart(c, "name")
	command := domain.SetRole{Name: name, Description: body.Description, Grants: body.Grants}
	if err := a.AccessCommands.Do(c.Request().Context(), caller(c), command); err != nil {
		return err
	}
	role, ok := a.Tokens.Role(name)
	if !ok { // removed by another caller since
		return domain.UnknownRole{Name: name}
	}
	return c.JSON(http.StatusOK, wire.Role(role))
}

func (a *api) removeRole(c echo.Context) error {
	return a.changeAccess(c, domain.RemoveRole{Name: pathPart(c, "name"), Reason: c.QueryParam("reason")})
}

func (a *api) changeAccess(c echo.Context, command domain.AccessCommand) error {
	if err := a.AccessCommands.Do(c.Request().Context(), caller(c), command); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
