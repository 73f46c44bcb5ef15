package webui

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
)

// signIns tells the page with which issuers people may sign in. It holds no secret: the page is a public client.
func (c *Config) signIns(ctx echo.Context) error {
	ctx.Response().Header().Set("Cache-Control", "no-store")
	return ctx.JSON(http.StatusOK, map[string][]web.SignIn{"issuers": c.SignIns()})
}

// signedIn is the page to which an issuer sends the browser back. Only this page may reach the issuers, where it exchanges
// the code for a token. Its address holds the code, so that nothing keeps it.
func (c *Config) signedIn(ctx echo.Context) error {
	var others []string
	for _, s := range c.SignIns() {
		if origin := web.OriginOf(s.Exchange); origin != "" && !slices.Contains(others, origin) {
			others = append(others, origin)
		}
	}
	h := ctx.Response().Header()
	h.Set("Content-Security-Policy", policy(others...))
	h.Set("Cache-Control", "no-store")
	return send(ctx, load().page)
}
