package consul

import (
	"net/http"
	"slices"
	"strings"
)

// route is a route of Consul's API.
type route struct {
	method string // or several, apart by commas
	path   string // ends in a slash: the rest of the path is an id
	handle func(*face, *request) error
}

const (
	anyMethod = "*"
	// putOrGet is for commands which Consul once took by GET and python3-consul still sends so. Pages of other sites cannot
	// send them: web.OwnSite refuses a GET, too.
	putOrGet = http.MethodPut + "," + http.MethodGet
)

// takes says whether the route takes a method.
func (r *route) takes(method string) bool {
	if method == http.MethodHead && r.method == http.MethodGet {
		return true
	}
	return r.method == anyMethod || slices.Contains(strings.Split(r.method, ","), method)
}

// allowed are the methods of the route for the header Allow.
func (r *route) allowed() string {
	if r.method == anyMethod {
		return "OPTIONS,GET,PUT,DELETE"
	}
	return "OPTIONS," + r.method
}

// reports says whether the route reports a check.
func (r *route) reports() bool {
	switch r.path {
	case "/v1/agent/check/pass/", "/v1/agent/check/warn/", "/v1/agent/check/fail/", "/v1/agent/check/update/":
		return true
	}
	return false
}

// match gives the id behind the route's path.
func (r *route) match(path string) (id string, ok bool) {
	if strings.HasSuffix(r.path, "/") {
		return strings.CutPrefix(path, r.path)
	}
	return "", path == r.path
}

// routes are in the order in which they are tried: a longer path comes before its beginning.
var routes = []route{
	{http.MethodPut, "/v1/agent/service/register", (*face).registerService},
	{putOrGet, "/v1/agent/service/deregister/", (*face).deregisterService},
	{http.MethodPut, "/v1/agent/service/maintenance/", (*face).serviceMaintenance},
	{http.MethodGet, "/v1/agent/service/", (*face).agentService},
	{http.MethodGet, "/v1/agent/services", (*face).agentServices},
	{http.MethodPut, "/v1/agent/check/register", (*face).registerCheck},
	{putOrGet, "/v1/agent/check/deregister/", (*face).deregisterCheck},
	{putOrGet, "/v1/agent/check/pass/", (*face).passCheck},
	{putOrGet, "/v1/agent/check/warn/", (*face).warnCheck},
	{putOrGet, "/v1/agent/check/fail/", (*face).failCheck},
	{http.MethodPut, "/v1/agent/check/update/", (*face).updateCheck},
	{http.MethodGet, "/v1/agent/checks", (*face).agentChecks},
	{http.MethodGet, "/v1/agent/health/service/id/", (*face).healthOfID},
	{http.MethodGet, "/v1/agent/health/service/name/", (*face).healthOfName},
	{http.MethodPut, "/v1/agent/maintenance", (*face).nodeMaintenance},
	{http.MethodGet, "/v1/agent/self", (*face).self},
	{http.MethodGet, "/v1/agent/version", (*face).version},
	{http.MethodGet, "/v1/agent/host", (*face).emptyObject},
	{http.MethodGet, "/v1/agent/members", (*face).members},
	{http.MethodGet, "/v1/agent/metrics", refuse("the metrics of the registry are at /metrics of the native API")},

	{http.MethodGet, "/v1/catalog/datacenters", (*face).datacenters},
	{http.MethodGet, "/v1/catalog/services", (*face).catalogServices},
	{http.MethodGet, "/v1/catalog/service/", (*face).catalogService},
	{http.MethodGet, "/v1/catalog/connect/", (*face).emptyList},
	{http.MethodGet, "/v1/catalog/nodes", (*face).catalogNodes},
	{http.MethodGet, "/v1/catalog/node-services/", (*face).catalogNodeServices},
	{http.MethodGet, "/v1/catalog/node/", (*face).catalogNode},
	{http.MethodPut, "/v1/catalog/register", (*face).catalogRegister},
	{http.MethodPut, "/v1/catalog/deregister", (*face).catalogDeregister},

	{http.MethodGet, "/v1/health/service/", (*face).healthService},
	{http.MethodGet, "/v1/health/connect/", (*face).emptyList},
	{http.MethodGet, "/v1/health/ingress/", (*face).emptyList},
	{http.MethodGet, "/v1/health/state/", (*face).healthState},
	{http.MethodGet, "/v1/health/checks/", (*face).healthChecks},
	{http.MethodGet, "/v1/health/node/", (*face).healthNode},

	{http.MethodGet, "/v1/status/leader", (*face).leader},
	{http.MethodGet, "/v1/status/peers", (*face).peers},
	{http.MethodGet, "/v1/coordinate/nodes", (*face).emptyList},
	{http.MethodGet, "/v1/coordinate/datacenters", (*face).emptyList},
	{http.MethodGet, "/v1/coordinate/node/", (*face).emptyList},

	{http.MethodPut, "/v1/coordinate/update", refuse("Rollcall keeps no coordinates")},

	{anyMethod, "/v1/kv/", (*face).keyValue},
	{anyMethod, "/v1/session/", refuse("Rollcall keeps no sessions and no locks: use a lock service for them")},
	{anyMethod, "/v1/txn", refuse("Rollcall keeps no keys and values")},
	{anyMethod, "/v1/event/", refuse("Rollcall has no user events: follow /v1/events of the native API for what happens to services")},
	{anyMethod, "/v1/query", refuse("Rollcall keeps no prepared queries: ask /v1/health/service with filters")},
	{anyMethod, "/v1/query/", refuse("Rollcall keeps no prepared queries: ask /v1/health/service with filters")},
	{anyMethod, "/v1/snapshot", refuse("back Rollcall up with rollcall backup")},
	{anyMethod, "/v1/acl/", (*face).noACL},
	{anyMethod, "/v1/connect/", refuse("Rollcall is no service mesh")},
	{anyMethod, "/v1/agent/connect/", refuse("Rollcall is no service mesh")},
	{anyMethod, "/v1/catalog/gateway-services/", refuse("Rollcall is no service mesh")},
	{anyMethod, "/v1/discovery-chain/", refuse("Rollcall is no service mesh")},
	{anyMethod, "/v1/exported-services", refuse("Rollcall has no peerings")},
	{anyMethod, "/v1/imported-services", refuse("Rollcall has no peerings")},
	{anyMethod, "/v1/agent/reload", refuse("there is no agent: operate Rollcall with the rollcall command")},
	{anyMethod, "/v1/agent/leave", refuse("there is no agent: operate Rollcall with the rollcall command")},
	{anyMethod, "/v1/agent/join/", refuse("there is no agent: operate Rollcall with the rollcall command")},
	{anyMethod, "/v1/agent/force-leave/", refuse("there is no agent: operate Rollcall with the rollcall command")},
	{anyMethod, "/v1/agent/token/", refuse("agents have no tokens: make tokens with rollcall token")},
	{anyMethod, "/v1/agent/monitor", refuse("read the log of the registry where it runs")},
	{anyMethod, "/v1/config", refuse("Rollcall keeps no config entries")},
	{anyMethod, "/v1/config/", refuse("Rollcall keeps no config entries")},
	{anyMethod, "/v1/peerings", refuse("Rollcall has no peerings")},
	{anyMethod, "/v1/peering", refuse("Rollcall has no peerings")},
	{anyMethod, "/v1/peering/", refuse("Rollcall has no peerings")},
	{anyMethod, "/v1/operator/", refuse("operate Rollcall with the rollcall command")},
	{anyMethod, "/v1/internal/", refuse("this is no public API")},
}

// refuse is the handler of what Rollcall does not do. It is 501, for clients try 500 again, and a lock that seems to work
// would be dangerous.
func refuse(why string) func(*face, *request) error {
	return func(*face, *request) error { return failure{http.StatusNotImplemented, why} }
}

func (f *face) noACL(*request) error { return failure{http.StatusUnauthorized, "ACL support disabled"} }
