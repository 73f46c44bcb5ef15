package httpapi

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// Right is what a caller needs for a route.
type Right struct {
	Route string // "METHOD /path"
	Verb  domain.Verb
	On    Scope
}

// Scope is how much a route asks about: the caller needs the verb on all of it.
type Scope string

// The scopes.
const (
	OnNothing   Scope = "nobody needs a right"
	OnCaller    Scope = "every caller, about the caller"
	OnInstance  Scope = "the instance"
	OnService   Scope = "the service"
	OnNamespace Scope = "the namespace"
	// OnNamedNamespace is OnNamespace where the path names the namespace.
	OnNamedNamespace Scope = "the namespace of the path"
	OnFollowed       Scope = "the services that are named, or else the namespace, or the registry where none is named"
	OnChosen         Scope = "the namespace, or the registry where none is named"
	OnSelection      Scope = "what the parameters pick"
	OnItems          Scope = "the instance of each item"
	OnNewID          Scope = "the new instance"
	OnRegistry       Scope = "the whole registry"
	OnSocket         Scope = "the whole registry; through the socket only"
)

const (
	register = domain.WriteInstances | domain.WriteOwn
	traffic  = domain.ChangeInstanceTraffic | domain.WriteOwn
)

// Rights has every route. A route that is not here needs the right to operate the whole registry.
var Rights = []Right{
	{"PUT /v1/services/:service/instances/:id", register, OnInstance},
	{"POST /v1/services/:service/instances", register, OnNewID},
	{"PUT /v1/services/:service/instances/:id/heartbeat", register, OnInstance},
	{"PUT /v1/services/:service/instances/:id/health", register, OnInstance},
	{"PUT /v1/services/:service/instances/:id/traffic", traffic, OnInstance},
	{"DELETE /v1/services/:service/instances/:id", register, OnInstance},
	{"PUT /v1/services/:service/instances/:id/checks/:check", register, OnInstance},
	{"DELETE /v1/services/:service/instances/:id/checks/:check", register, OnInstance},
	{"POST /v1/services/:service/instances/:id/checks/:check/pass", register, OnInstance},
	{"POST /v1/services/:service/instances/:id/checks/:check/warn", register, OnInstance},
	{"POST /v1/services/:service/instances/:id/checks/:check/fail", register, OnInstance},
	{"POST /v1/check-reports", register, OnItems},
	{"POST /v1/commands", register | traffic, OnItems},
	{"POST /v1/heartbeats", register, OnItems},
	{"POST /v1/reverts", domain.ReadHistory, OnItems}, // and those of the commands that it stands for
	{"GET /v1/namespaces", domain.ReadCatalog, OnRegistry},
	{"GET /v1/services", domain.ReadCatalog, OnNamespace},
	{"GET /v1/services/:service", domain.ReadCatalog, OnService},
	{"GET /v1/services/:service/instances", domain.ReadCatalog, OnService},
	{"GET /v1/services/:service/instances/:id", domain.ReadCatalog, OnService},
	{"GET /v1/services/:service/checks", domain.ReadCatalog, OnService},
	{"GET /v1/catalog", domain.ReadCatalog, OnChosen},
	{"GET /v1/sd/prometheus", domain.ReadCatalog, OnChosen},
	{"GET /v1/diff", domain.ReadCatalog, OnChosen},
	{"GET /v1/services/:service/instances/:id/history", domain.ReadHistory, OnService},
	{"GET /v1/services/:service/history", domain.ReadHistory, OnService},
	{"GET /v1/history", domain.ReadHistory, OnChosen},
	{"GET /v1/reports/namespaces/:namespace", domain.ReadHistory, OnNamedNamespace},
	{"GET /v1/reports/services/:service", domain.ReadHistory, OnService},
	{"GET /v1/reports/services/:service/instances/:id", domain.ReadHistory, OnService},
	{"GET /v1/timeline/services/:service", domain.ReadHistory, OnService},
	{"GET /v1/timeline/services/:service/instances/:id", domain.ReadHistory, OnService},
	{"GET /v1/histogram", domain.ReadHistory, OnSelection},
	{"GET /v1/events", domain.ReadEvents, OnSelection},
	{"GET /v1/streams/services/:service", domain.ReadCatalog, OnService},
	{"GET /v1/streams/catalog", domain.ReadCatalog, OnFollowed},
	{"GET /v1/streams/events", domain.ReadEvents, OnSelection},
	{"GET /v1/preservation", domain.ReadCatalog, OnChosen},
	{"PUT /v1/preservation", domain.Operate, OnNamespace},
	{"GET /v1/cluster", domain.ReadCatalog, OnRegistry},
	{"POST /v1/cluster/members", domain.Operate, OnRegistry},
	{"DELETE /v1/cluster/members/:id", domain.Operate, OnRegistry},
	{"PUT /v1/cluster/leader", domain.Operate, OnRegistry},
	{"GET /v1/policies", domain.ReadCatalog, OnRegistry},
	{"GET /v1/policies/:name", domain.ReadCatalog, OnRegistry},
	{"PUT /v1/policies/:name", domain.Operate, OnRegistry},
	{"DELETE /v1/policies/:name", domain.Operate, OnRegistry},
	{"POST /v1/backup", domain.Operate, OnSocket},
	{"POST /v1/webhooks", domain.ManageWebhooks, OnRegistry},
	{"GET /v1/webhooks", domain.ManageWebhooks, OnRegistry},
	{"GET /v1/webhooks/:id", domain.ManageWebhooks, OnRegistry},
	{"DELETE /v1/webhooks/:id", domain.ManageWebhooks, OnRegistry},
	{"POST /v1/webhooks/:id/pause", domain.ManageWebhooks, OnRegistry},
	{"POST /v1/webhooks/:id/resume", domain.ManageWebhooks, OnRegistry},
	{"POST /v1/webhooks/:id/replay", domain.ManageWebhooks, OnRegistry},
	{"GET /v1/webhooks/:id/deliveries", domain.ManageWebhooks, OnRegistry},
	{"GET /v1/webhooks/:id/history", domain.ManageWebhooks, OnRegistry},
	{"GET /v1/checkpoint", domain.ReadHistory, OnRegistry},
	{"GET /v1/checkpoint/key", domain.ReadHistory, OnRegistry},
	{"GET /v1/checkpoint/leaves", domain.ReadHistory, OnRegistry},
	{"GET /v1/proofs/inclusion", domain.ReadHistory, OnRegistry},
	{"GET /v1/proofs/consistency", domain.ReadHistory, OnRegistry},
	{"GET /v1/access/tokens", domain.ManageAccess, OnRegistry},
	{"POST /v1/access/tokens", domain.ManageAccess, OnRegistry},
	{"GET /v1/access/tokens/:name", domain.ManageAccess, OnRegistry},
	{"POST /v1/access/tokens/:name/rotate", domain.ManageAccess, OnRegistry},
	{"DELETE /v1/access/tokens/:name", domain.ManageAccess, OnRegistry},
	{"GET /v1/access/roles", domain.ManageAccess, OnRegistry},
	{"PUT /v1/access/roles/:name", domain.ManageAccess, OnRegistry},
	{"DELETE /v1/access/roles/:name", domain.ManageAccess, OnRegistry},
	{"GET /v1/self", 0, OnCaller},
	{"GET /healthz", 0, OnNothing},
	{"GET /readyz", 0, OnNothing},
	{"GET /v1/status", domain.ReadCatalog, OnRegistry},
	{"GET /metrics", domain.ReadCatalog, OnRegistry},
	{"GET /openapi.yaml", 0, OnNothing},
	{"GET /", 0, OnNothing},
}

type route struct{ method, path string }

var rights = func() map[route]Right {
	all := make(map[route]Right, len(Rights))
	for _, r := range Rights {
		method, path, _ := strings.Cut(r.Route, " ")
		all[route{method, path}] = r
	}
	return all
}()

// rightOf is the right that a request's route needs; declared is false for a route that has none.
func rightOf(c echo.Context) (right Right, declared bool) {
	method := c.Request().Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	right, declared = rights[route{method, c.Path()}]
	return right, declared
}

// authorize finds out who the caller is, and refuses what the caller has no right to, before anything else is done.
func (a *api) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		right, declared := rightOf(c)
		if declared && right.On == OnNothing {
			if err := a.limit(c, nil); err != nil {
				return err
			}
			return next(c)
		}
		checked := a.Access.MustVerify(c.Request())
		if checked { // before the signature costs anything
			if err := a.Limits.Limit(c, nil, web.Requests); err != nil {
				return err
			}
		}
		who, err := a.Access.Identify(c.Request())
		if err == nil || !checked {
			if limited := a.limit(c, who); limited != nil { // guesses, too, are limited
				return limited
			}
		}
		if err != nil {
			return err
		}
		web.SetIdentity(c, who)
		if err := a.allow(c, who, right, declared); err != nil {
			return err
		}
		return next(c)
	}
}

// mayFollow refuses a caller who lacks the verb on one of the services that a stream names.
func mayFollow(c echo.Context, who *web.Identity, verb domain.Verb) error {
	ns, err := queries.ParseNamespace(c.QueryParams())
	if err != nil {
		return err
	}
	services, err := queries.ParseFollowed(ns, c.QueryParams()["service"])
	if err != nil {
		return err
	}
	for _, s := range services {
		if err := who.May(verb, domain.Key{Namespace: s.Namespace, Service: s.Service}); err != nil {
			return err
		}
	}
	return nil
}

// limit counts a request for its caller; nil: the caller is not known. Requests for the health of the process are not limited.
func (a *api) limit(c echo.Context, who *web.Identity) error {
	limit := web.Requests
	switch c.Path() {
	case "/healthz", "/readyz":
		return nil
	case heartbeatsPath:
		limit = web.Heartbeats
	case heartbeatPath:
		if a.Limits != nil && a.Queries.Known(instanceKey(c)) {
			limit = web.Heartbeats
		}
	}
	return a.Limits.Limit(c, who, limit)
}

// allow refuses what a caller has no right to. declared says whether the route has a right.
func (a *api) allow(c echo.Context, who *web.Identity, right Right, declared bool) error {
	if !who.Controlled() || declared && right.On == OnCaller {
		return nil
	}
	if !declared {
		right = Right{Verb: domain.Operate, On: OnRegistry}
	}
	switch {
	case right.On == OnItems || right.On == OnNewID: // each command is looked at later
		return who.MaySomewhere(right.Verb)
	case right.On == OnFollowed && c.QueryParams().Has("service"):
		return mayFollow(c, who, right.Verb)
	}
	key, err := scopeOf(c, right.On)
	if err != nil {
		return err
	}
	return a.see(c, who, right, key)
}

// scopeOf is the key, with empty parts for all, of what a request asks about. The parameters have not been checked yet:
// what this takes for one of two values is refused later (web.Params).
func scopeOf(c echo.Context, on Scope) (key domain.Key, err error) {
	if on == OnRegistry || on == OnSocket {
		return key, nil
	}
	if on == OnNamedNamespace {
		key.Namespace = pathPart(c, "namespace")
		return key, nil
	}
	values := c.QueryParams()
	if key.Namespace, err = queries.ParseNamespace(values); err != nil {
		return key, err
	}
	named := key.Namespace != ""
	key.Namespace = queries.OneNamespace(key.Namespace)
	switch on {
	case OnInstance:
		key.ID = pathPart(c, "id")
		fallthrough
	case OnService:
		key.Service = pathPart(c, "service")
	case OnSelection:
		key.Service = values.Get("service")
	}
	if !named && (on != OnChosen && on != OnFollowed && on != OnSelection || key.Service != "") {
		key.Namespace = domain.DefaultNamespace
	}
	return key, nil
}

// still looks at the rights of a caller who waits or streams once more. A caller whose token has ended, or who has lost the
// right, is refused.
func (a *api) still(c echo.Context) error {
	if web.IdentityOf(c).Still() {
		return nil
	}
	return a.identifyAgain(c)
}

func (a *api) identifyAgain(c echo.Context) error {
	renewed, err := a.Access.Identify(c.Request())
	if err != nil {
		return err
	}
	web.SetIdentity(c, renewed)
	right, declared := rightOf(c)
	return a.allow(c, renewed, right, declared)
}
