// Package httpapi is the native HTTP API under /v1, and the routes that operators need.
//
// A command is answered when its event is durable. Every reply carries Rollcall-Position: the position up to which the
// catalog was when the reply was made. A query with ?after=<position> waits until the catalog has reached the position.
package httpapi

import (
	"cmp"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/projections/access"
	"github.com/rollcall-registry/rollcall/projections/policies"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Limits of the API. They are part of the public contract (docs/api).
const (
	MaxBody      = 1 << 20 // bytes of a single command's body
	MaxBatchBody = 8 << 20 // bytes of a batch's body
	MaxBatch     = 10_000  // items of a batch
)

// Config has the parts that the API needs.
type Config struct {
	Commands *commands.Service
	Queries  *queries.Service
	// Webhooks lists the webhooks, WebhookCommands changes webhooks, and Deliveries delivers events to them.
	Webhooks        *webhooks.List
	WebhookCommands *commands.Webhooks
	Deliveries      Deliveries
	// PreservationCommands hold expiry, and let expiry go on.
	PreservationCommands *commands.Preservation
	// Shed is called for every heartbeat that is refused under overload, and every 200 ms for one that waits for its turn;
	// nil: no call.
	Shed func()
	// HeartbeatsAtOnce bounds how many requests with heartbeats are handled at once; 0: 16,384.
	HeartbeatsAtOnce int
	// Remote says that commits take a way over the network.
	Remote bool

	// BackupTo writes a backup as a tar archive, without tables that the receiver has; nil: the event store is a database of its own.
	BackupTo func(w io.Writer, have []wire.BackupFile) error

	// Access tells who a caller is and what the caller may do. nil: everybody may do everything, except for changing
	// access itself, which needs the socket.
	Access *web.Access
	// Tokens has the tokens and roles, AccessCommands changes them; nil: there are no routes for them.
	Tokens         *access.Table
	AccessCommands *commands.Access

	// ClusterCommands change the nodes of the cluster; nil: the registry is no cluster.
	ClusterCommands ClusterCommands

	// Policies has the guard rails, and PolicyCommands changes them.
	Policies       *policies.Table
	PolicyCommands *commands.Policies

	// Proxies tell where requests come from; nil: each comes from its connection's address.
	Proxies *web.Proxies

	// Limits bound what each caller may ask for; nil: nothing is bounded.
	Limits *web.Limits

	// Observer gets every request; nil: no observer.
	Observer web.Observer
	// Hosts are the hosts for which requests are answered; nil: any host.
	Hosts *web.Hosts
	// Origins are the origins of other sites whose pages may use the API; none by default.
	Origins web.Origins

	Ready   func() error // why the server is not ready, nil when it is
	Metrics http.Handler
	OpenAPI []byte
	Version string
	Logger  *slog.Logger
}

type api struct {
	Config
	heartbeatTurns, commandTurns, lookupTurns, polledTurns, pastTurns, scanTurns, pageTurns, streamTurns, operatorTurns *web.Turns

	outgoing *web.Outgoing
	gzip     *web.Gzip

	requestIDs *web.RequestIDs
	lane       *lane.Lane
}

// How many requests of each kind are handled at once. Under overload lookups and registrations are refused before
// heartbeats: without heartbeats the leases would lapse. A request that waits for a change has no turn while it waits,
// and a turn ends before the reply is written. When a change ends many long polls at once, they go on in turns of their own, by
// half of the processors: heartbeats do not queue behind hundreds of them.
const (
	lookupsAtOnce    = 256
	pastAtOnce       = 32 // lookups in a catalog of the past, which may have to be built
	scansAtOnce      = 8  // of the history, each of which may read for a tenth of a second
	pagesAtOnce      = 32 // of an instance's newest entries, in the lane
	streamsAtOnce    = 16_384
	operatorsAtOnce  = 4 // readings of the metrics
	commandsAtOnce   = 512
	heartbeatsAtOnce = 16_384
	longBodiesAtOnce = 512 // bodies of over 64 KiB of other requests, while they are read

	// outgoingBytes is how many bytes of large replies and snapshots may be sent at once.
	outgoingBytes = 128 << 20

	// compressedBytes is how many bytes of compressed replies are kept for clients that ask for the same.
	compressedBytes = 16 << 20
)

// API is the handler of all routes. Its Lane makes heartbeats and lookups cheaper.
type API struct {
	*echo.Echo
	api *api
}

// New makes the API.
func New(config Config) *API {
	a := &api{
		Config: config, requestIDs: web.NewRequestIDs(),
		heartbeatTurns: web.NewTurns(cmp.Or(config.HeartbeatsAtOnce, heartbeatsAtOnce)), commandTurns: web.NewTurns(commandsAtOnce), lookupTurns: web.NewTurns(lookupsAtOnce),
		polledTurns: web.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)), pastTurns: web.NewTurns(pastAtOnce), scanTurns: web.NewTurns(scansAtOnce), pageTurns: web.NewTurns(pagesAtOnce), streamTurns: web.NewTurns(streamsAtOnce), operatorTurns: web.NewTurns(operatorsAtOnce),
		outgoing: web.NewOutgoing(outgoingBytes), gzip: web.NewGzip(compressedBytes),
	}
	a.heartbeatTurns.Long, a.commandTurns.Long = web.NewTurns(cmp.Or(config.HeartbeatsAtOnce, heartbeatsAtOnce)), web.NewTurns(longBodiesAtOnce)
	a.scanTurns.Long = a.commandTurns.Long
	for _, t := range []*web.Turns{a.heartbeatTurns, a.heartbeatTurns.Long} {
		t.OnRefused, t.OnWaiting = config.Shed, config.Shed
	}
	a.lane = lane.New(lane.Options{Face: a.laneFace, Batch: a.laneBatch, Batches: batchesAtOnce(config.Remote), Host: config.Hosts.AllowBytes, Vary: config.Origins.Vary(), Observe: observeLane(config.Observer)})
	return &API{a.router(), a}
}

// Lane answers plain heartbeats and lookups with the same bytes as the API. It is for web.NewServer.
func (a *API) Lane() *lane.Lane { return a.api.lane }

// Routes lists what New serves, as "METHOD /path/:parameter".
func Routes(config Config) []string {
	var routes []string
	for _, r := range New(config).Echo.Routes() {
		if r.Method != echo.RouteNotFound && r.Method != http.MethodHead { // every route with GET has HEAD
			routes = append(routes, r.Method+" "+r.Path)
		}
	}
	return routes
}

// takes is web.Takes with the parameters of all lists.
func takes(lists ...[]string) echo.MiddlewareFunc { return web.Takes(slices.Concat(lists...)...) }

// streams says whether a request stays open until its client ends it.
func streams(c echo.Context) bool {
	return strings.HasPrefix(c.Path(), "/v1/streams/") || c.Path() == "/v1/events" && c.QueryParam("follow") != ""
}

const (
	heartbeatPath  = "/v1/services/:service/instances/:id/heartbeat"
	heartbeatsPath = "/v1/heartbeats"
)

// uncounted says whether the bytes of a request do not count for the limit of its caller.
func uncounted(c echo.Context) bool {
	return c.Path() == heartbeatPath || c.Path() == heartbeatsPath
}

func (a *api) router() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = web.Fail(a.Logger)
	e.Use(a.requestIDs.Identify, a.Proxies.Resolve)
	if a.Observer != nil {
		e.Use(web.Observe(a.Observer, a.Logger, streams))
	}
	e.Use(web.Recover, a.Limits.Count(uncounted, streams), web.Share(a.Hosts, a.Origins), a.authorize, whole, once, keyed, conditions, a.positioned, web.Guard(a.Hosts, "/v1/commands"))
	e.Use(a.outgoing.Bound, a.gzip.Offer)
	heartbeat, command, lookup := a.heartbeatTurns.Admit, admitKeyed(a.commandTurns), a.lookupTurns.Admit
	scan, stream := a.scanTurns.Admit, a.streamTurns.Admit

	v1 := e.Group("/v1")
	v1.PUT("/services/:service/instances/:id", a.register, web.Takes("ns"), command)
	v1.POST("/services/:service/instances", a.registerNew, web.Takes("ns"), command)
	v1.PUT("/services/:service/instances/:id/heartbeat", a.heartbeat, web.Takes("ns", "epoch", "owner"), heartbeat)
	v1.PUT("/services/:service/instances/:id/health", a.reportHealth, web.Takes("ns"), command)
	v1.PUT("/services/:service/instances/:id/traffic", a.changeTraffic, web.Takes("ns"), command)
	v1.DELETE("/services/:service/instances/:id", bodiless(a.deregister), web.Takes("ns", "epoch", "owner", "reason", "force"), command)
	v1.PUT("/services/:service/instances/:id/checks/:check", a.addCheck, web.Takes("ns"), command)
	v1.DELETE("/services/:service/instances/:id/checks/:check", bodiless(a.removeCheck), web.Takes("ns", "epoch", "owner"), command)
	v1.POST("/services/:service/instances/:id/checks/:check/pass", a.passCheck, web.Takes("ns"), heartbeat)
	v1.POST("/services/:service/instances/:id/checks/:check/warn", a.warnCheck, web.Takes("ns"), heartbeat)
	v1.POST("/services/:service/instances/:id/checks/:check/fail", a.failCheck, web.Takes("ns"), heartbeat)
	v1.POST("/check-reports", a.checkReports, web.Takes("ns"), heartbeat)
	v1.POST("/commands", a.commands, web.Takes(), command)
	v1.POST("/reverts", a.revert, web.Takes(), admitKeyed(a.scanTurns))
	v1.POST("/heartbeats", a.heartbeats, web.Takes("ns", "owner"), heartbeat)

	moments := []string{"after", "at", "index", "wait"}
	changing := append([]string{"ns"}, moments...)
	paged := []string{"limit", "cursor"}
	filters := []string{"status+", "tag+", "zone", "version", "ready", "max_silence", "check+", "meta.*"}
	selection := []string{"ns", "service", "instance", "type+", "heartbeats"}
	web.Get(v1, "/namespaces", a.namespaces, takes(moments), lookup, a.afterOwnWrites)
	web.Get(v1, "/services", a.services, takes(changing, paged), lookup, a.afterOwnWrites)
	web.Get(v1, "/services/:service", a.service, takes(changing), lookup, a.afterOwnWrites)
	web.Get(v1, "/services/:service/instances", a.instances, takes(changing, filters, paged, []string{"leases"}), lookup, a.afterOwnWrites)
	web.Get(v1, "/services/:service/instances/:id", a.instance, takes([]string{"ns", "after", "at"}), lookup, a.afterOwnWrites)
	web.Get(v1, "/services/:service/checks", a.serviceChecks, takes([]string{"ns", "after", "instance", "status+"}), lookup, a.afterOwnWrites)
	web.Get(v1, "/catalog", a.everything, takes(changing, filters, paged), lookup, a.afterOwnWrites)
	web.Get(v1, "/sd/prometheus", a.scrapeTargets, takes([]string{"ns", "after", "service", "port", "status+", "tag+", "zone", "version", "ready", "meta.*"}), lookup, a.afterOwnWrites)
	web.Get(v1, "/diff", a.diff, takes([]string{"ns", "after", "from", "to", "limit", "cursor"}), scan, a.afterOwnWrites)

	web.Get(v1, "/services/:service/instances/:id/history", a.instanceHistory, takes([]string{"ns"}, historyParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/services/:service/history", a.serviceHistory, takes([]string{"ns"}, historyParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/history", a.allHistory, takes([]string{"ns"}, historyParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/reports/namespaces/:namespace", a.namespaceReport, takes(reportParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/reports/services/:service", a.serviceReport, takes([]string{"ns"}, reportParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/reports/services/:service/instances/:id", a.instanceReport, takes([]string{"ns"}, reportParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/timeline/services/:service", a.serviceTimeline, takes(timelineParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/timeline/services/:service/instances/:id", a.instanceTimeline, takes(timelineParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/histogram", a.histogram, takes([]string{"ns", "after", "service", "type+", "from", "to", "buckets"}), scan, a.afterOwnWrites)
	web.Get(v1, "/events", a.events, web.HeadersOnly, web.OwnSite, stream, takes(selection, []string{"after", "from", "to", "follow", "format"}), a.afterOwnWrites)
	web.Get(v1, "/streams/services/:service", a.streamService, web.HeadersOnly, web.OwnSite, stream, takes([]string{"ns", "from"}, filters))
	web.Get(v1, "/streams/catalog", a.streamCatalog, web.HeadersOnly, web.OwnSite, stream, takes([]string{"ns", "from", "service+"}, filters))
	web.Get(v1, "/streams/events", a.streamEvents, web.HeadersOnly, web.OwnSite, stream, takes(selection, []string{"from"}))
	web.Get(v1, "/preservation", a.preservation, takes([]string{"ns", "after"}), lookup, a.afterOwnWrites)
	v1.PUT("/preservation", a.changePreservation, web.Takes("ns"), command)
	web.Get(v1, "/status", a.status, web.Takes())
	web.Get(v1, "/self", a.self, web.Takes())
	web.Get(v1, "/cluster", a.clusterStatus, web.Takes())
	v1.POST("/cluster/members", a.addMember, web.Takes(), command)
	v1.DELETE("/cluster/members/:id", bodiless(a.removeMember), web.Takes("reason"), command)
	v1.PUT("/cluster/leader", a.moveLead, web.Takes(), command)
	web.Get(v1, "/policies", a.listPolicies, web.Takes(), lookup)
	web.Get(v1, "/policies/:name", a.getPolicy, web.Takes(), lookup)
	v1.PUT("/policies/:name", a.setPolicy, web.Takes(), command)
	v1.DELETE("/policies/:name", bodiless(a.removePolicy), web.Takes("reason"), command)
	v1.POST("/backup", a.backup, web.Takes(), command)
	v1.POST("/webhooks", a.createWebhook, web.Takes(), command)
	web.Get(v1, "/webhooks", a.listWebhooks, web.Takes("limit", "cursor"), lookup)
	web.Get(v1, "/webhooks/:id", a.getWebhook, web.Takes(), lookup)
	v1.DELETE("/webhooks/:id", bodiless(a.deleteWebhook), web.Takes("reason"), command)
	v1.POST("/webhooks/:id/pause", a.pauseWebhook, web.Takes(), command)
	v1.POST("/webhooks/:id/resume", a.resumeWebhook, web.Takes(), command)
	v1.POST("/webhooks/:id/replay", a.replayWebhook, web.Takes(), command)
	web.Get(v1, "/webhooks/:id/deliveries", a.webhookDeliveries, web.Takes("limit"), lookup)
	web.Get(v1, "/webhooks/:id/history", a.webhookHistory, takes(historyParameters), scan, a.afterOwnWrites)
	web.Get(v1, "/checkpoint", a.checkpoint, takes([]string{"after"}), scan, a.afterOwnWrites)
	web.Get(v1, "/checkpoint/key", a.checkpointKey, takes(), lookup)
	web.Get(v1, "/checkpoint/leaves", a.leaves, takes([]string{"after", "from", "limit"}), scan, a.afterOwnWrites)
	web.Get(v1, "/proofs/inclusion", a.inclusion, takes([]string{"after", "position", "size"}), scan, a.afterOwnWrites)
	web.Get(v1, "/proofs/consistency", a.consistency, takes([]string{"after", "from", "to"}), scan, a.afterOwnWrites)

	tokens := v1.Group("/access", a.socketOnly)
	web.Get(tokens, "/tokens", a.listTokens, web.Takes(), lookup)
	tokens.POST("/tokens", a.createToken, web.Takes(), command)
	web.Get(tokens, "/tokens/:name", a.getToken, web.Takes(), lookup)
	tokens.POST("/tokens/:name/rotate", a.rotateToken, web.Takes(), command)
	tokens.DELETE("/tokens/:name", bodiless(a.revokeToken), web.Takes("reason"), command)
	web.Get(tokens, "/roles", a.listRoles, web.Takes(), lookup)
	tokens.PUT("/roles/:name", a.setRole, web.Takes(), command)
	tokens.DELETE("/roles/:name", bodiless(a.removeRole), web.Takes("reason"), command)

	web.Get(e, "/healthz", a.healthz, web.Takes())
	web.Get(e, "/readyz", a.readyz, web.Takes())
	web.Get(e, "/metrics", echo.WrapHandler(a.Metrics), web.Takes(), a.operatorTurns.Admit)
	web.Get(e, "/openapi.yaml", a.openapi, web.Takes())
	web.Get(e, "/", a.index, web.Takes())
	return e
}
