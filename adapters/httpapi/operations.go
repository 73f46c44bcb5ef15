package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// healthz answers as long as the process can.
func (a *api) healthz(c echo.Context) error {
	return c.JSONBlob(http.StatusOK, []byte(`{"status":"ok"}`))
}

// readyz says whether this node should get requests.
func (a *api) readyz(c echo.Context) error {
	if err := a.Ready(); err != nil {
		return problem(http.StatusServiceUnavailable, "not-ready", "The registry is not ready", err.Error())
	}
	ready := wire.Readiness{Status: "ready"}
	if a.Queries.Node.Cluster != nil {
		s := a.Queries.Node.Cluster()
		ready.Cluster = &wire.ClusterReadiness{Node: s.Node, Role: s.Role, Term: s.Term, Leader: s.Leader, Lag: s.Lag, Members: len(s.Members)}
	}
	return c.JSON(http.StatusOK, ready)
}

// status says how this node is. It is answered under any load, and whatever the event store does.
func (a *api) status(c echo.Context) error {
	return c.JSON(http.StatusOK, a.Queries.Status(c.Request().Context()))
}

// self says who the caller is and what the caller may do, so that a client offers nothing that would be refused.
func (a *api) self(c echo.Context) error {
	who := web.IdentityOf(c)
	self := wire.Self{Name: who.Name, Controlled: a.Access != nil, Grants: make([]wire.Grant, 0, len(who.Grants))}
	if self.Controlled {
		self.Owner = who.Own()
	}
	for _, g := range who.Grants {
		self.Grants = append(self.Grants, wire.Grant{Verbs: g.Verbs.Names(), Namespace: g.Namespace, Service: g.Service, Instance: g.Instance})
	}
	return c.JSON(http.StatusOK, self)
}

func (a *api) openapi(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", a.OpenAPI)
}

func (a *api) index(c echo.Context) error {
	return c.String(http.StatusOK, "Rollcall "+a.Version+", a service registry that remembers.\n\n"+
		"  GET /v1/services                          what is registered\n"+
		"  GET /v1/services/{service}/instances      where it is\n"+
		"  GET /openapi.yaml                         everything else\n")
}
