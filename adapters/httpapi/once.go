package httpapi

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
)

// headerKey is the header with the key under which a request is carried out once
// (draft-ietf-httpapi-idempotency-key-header).
const headerKey = "Idempotency-Key"

// Again says what becomes of a request that is sent again with its key.
type Again string

// What becomes of it.
const (
	// AgainCommand: each command to an instance is carried out once, by the ids of its events (commands.Request.Once).
	AgainCommand Again = "each command once"
	// AgainRequest: the request is carried out once (commands.Keyed).
	AgainRequest Again = "once"
	// AgainHarmless: the request may be carried out twice, which does no harm.
	AgainHarmless Again = "harmless"
)

// Repeats has every route that changes something. A route that is not here takes no key.
var Repeats = map[string]Again{
	"PUT /v1/services/:service/instances/:id":                     AgainCommand,
	"POST /v1/services/:service/instances":                        AgainCommand,
	"PUT /v1/services/:service/instances/:id/heartbeat":           AgainHarmless, // renews once more
	"PUT /v1/services/:service/instances/:id/health":              AgainCommand,
	"PUT /v1/services/:service/instances/:id/traffic":             AgainCommand,
	"DELETE /v1/services/:service/instances/:id":                  AgainCommand,
	"PUT /v1/services/:service/instances/:id/checks/:check":       AgainCommand,
	"DELETE /v1/services/:service/instances/:id/checks/:check":    AgainCommand,
	"POST /v1/services/:service/instances/:id/checks/:check/pass": AgainHarmless, // reports once more
	"POST /v1/services/:service/instances/:id/checks/:check/warn": AgainHarmless,
	"POST /v1/services/:service/instances/:id/checks/:check/fail": AgainHarmless,
	"POST /v1/check-reports":                                      AgainHarmless,
	"POST /v1/commands":                                           AgainCommand,
	"POST /v1/heartbeats":                                         AgainHarmless,
	"POST /v1/reverts":                                            AgainRequest,
	"PUT /v1/preservation":                                        AgainRequest,
	"POST /v1/cluster/members":                                    AgainHarmless, // a member is not added twice
	"DELETE /v1/cluster/members/:id":                              AgainHarmless, // a name never comes back
	"PUT /v1/cluster/leader":                                      AgainHarmless, // the lead stays where it is
	"PUT /v1/policies/:name":                                      AgainRequest,
	"DELETE /v1/policies/:name":                                   AgainRequest,
	"POST /v1/backup":                                             AgainHarmless, // changes nothing
	"POST /v1/webhooks":                                           AgainRequest,
	"DELETE /v1/webhooks/:id":                                     AgainRequest,
	"POST /v1/webhooks/:id/pause":                                 AgainRequest,
	"POST /v1/webhooks/:id/resume":                                AgainRequest,
	"POST /v1/webhooks/:id/replay":                                AgainRequest,
	"POST /v1/access/tokens":                                      AgainRequest,
	"POST /v1/access/tokens/:name/rotate":                         AgainRequest,
	"DELETE /v1/access/tokens/:name":                              AgainRequest,
	"PUT /v1/access/roles/:name":                                  AgainRequest,
	"DELETE /v1/access/roles/:name":                               AgainRequest,
}

// onceKey is the key of a request; "": it has none.
func onceKey(c echo.Context) (string, error) {
	values := c.Request().Header.Values(headerKey)
	if len(values) == 0 {
		return "", nil
	}
	key, err := uuid.Parse(strings.Trim(values[0], `"`))
	if err != nil || len(values) > 1 {
		return "", invalidField(headerKey, `must be a UUID, e.g. "8e03978e-40d5-43dd-bc93-6894a57f9324"`)
	}
	return key.String(), nil
}

// keyed refuses a key where it would have no effect: the client may send its request again because of it.
func keyed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if method := c.Request().Method; !hasKey(c) || method == http.MethodGet || method == http.MethodHead || again(c) != "" {
			return next(c)
		}
		return invalidField(headerKey, "must be left out: nothing is carried out once by it here")
	}
}

func hasKey(c echo.Context) bool { return len(c.Request().Header[headerKey]) > 0 }

// again says what becomes of the request if it is sent again; "": the request changes nothing.
func again(c echo.Context) Again { return Repeats[c.Request().Method+" "+c.Path()] }

// admitKeyed handles requests in turns. In its turn, and so by the rules for bodies (web.Incoming), it reads the key of a request that is
// carried out once, and what tells the request from others: its method, path, query and body.
func admitKeyed(turns *web.Turns) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return turns.Admit(func(c echo.Context) error {
			if !hasKey(c) || again(c) != AgainRequest {
				return next(c)
			}
			key, err := onceKey(c)
			if err != nil {
				return err
			}
			body, err := readBody(c, MaxBody)
			if err != nil {
				return err
			}
			r := c.Request()
			r.Body = io.NopCloser(bytes.NewReader(body))
			c.Set(keyedName, &commands.Keyed{Key: key, Request: sha256.Sum256(fmt.Appendf(nil, "%s %q %q %s", r.Method, r.URL.Path, r.URL.RawQuery, body))})
			return next(c)
		})
	}
}

// keyedName is the name under which a context has the key of its request.
const keyedName = "keyed"

func keyedOf(c echo.Context) *commands.Keyed {
	k, _ := c.Get(keyedName).(*commands.Keyed)
	return k
}
