// Package httpapi is the native HTTP API under /v1, and the routes that operators need.
//
// Commands answer when they are durable. Every reply carries Rollcall-Position, up to where the
// catalog was when the reply was made; ?after=<position> makes a query wait for one's own writes.
package httpapi

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
	"github.com/rollcall-registry/rollcall/queries"
)

// Limits of the API. They are part of the public contract (docs/api).
const (
	MaxBody      = 1 << 20 // bytes of a single command's body
	MaxBatchBody = 8 << 20 // bytes of a batch's body
	MaxBatch     = 10_000  // items of a batch
)

// Config is what the API is made of.
type Config struct {
	Commands *commands.Service
	Queries  *queries.Service
	// Webhooks are those there are; WebhookCommands change them, Deliveries carries them out.
	Webhooks        *webhooks.List
	WebhookCommands *commands.Webhooks
	Deliveries      Deliveries

	// BackupTo writes a backup as a tar archive; nil: the event store is not here.
	BackupTo func(w io.Writer, have json.RawMessage) error

	// Observer is told of every request; nil: nobody is.
	Observer web.Observer

	Ready   func() error // why the server is not ready, nil when it is
	Metrics http.Handler
	OpenAPI []byte
	Version string
	Logger  *slog.Logger
}

type api struct {
	Config
	heartbeatTurns, commandTurns, lookupTurns *admission

	requestIDs *web.RequestIDs
	date       httpDate
	inLane     atomic.Int64
}

// API serves all routes. It is a handler; Listen and ConnState make heartbeats and lookups cheaper.
type API struct {
	*echo.Echo
	api *api
}

// New is the API.
func New(config Config) *API {
	a := &api{
		Config: config, requestIDs: web.NewRequestIDs(),
		heartbeatTurns: newAdmission(heartbeatsAtOnce), commandTurns: newAdmission(commandsAtOnce), lookupTurns: newAdmission(lookupsAtOnce),
	}
	return &API{a.router(), a}
}

// Routes lists what New serves, as "METHOD /path/:parameter".
func Routes(config Config) []string {
	var routes []string
	for _, r := range New(config).Echo.Routes() {
		if r.Method != echo.RouteNotFound {
			routes = append(routes, r.Method+" "+r.Path)
		}
	}
	return routes
}

// takes holds a route to the parameters that it takes: those of all lists.
func takes(lists ...[]string) echo.MiddlewareFunc { return web.Takes(slices.Concat(lists...)...) }

// streams says which requests stay open for as long as their client likes.
func streams(c echo.Context) bool {
	return strings.HasPrefix(c.Path(), "/v1/streams/") || c.Path() == "/v1/events" && c.QueryParam("follow") != ""
}

func (a *api) router() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = web.Fail(a.Logger)
	e.Use(a.requestIDs.Identify)
	if a.Observer != nil {
		e.Use(web.Observe(a.Observer, a.Logger, streams))
	}
	e.Use(web.Recover, a.positioned, a.admitted)

	v1 := e.Group("/v1")
	v1.PUT("/services/:service/instances/:id", a.register, web.Takes("ns"))
	v1.POST("/services/:service/instances", a.registerNew, web.Takes("ns"))
	v1.PUT("/services/:service/instances/:id/heartbeat", a.heartbeat, web.Takes("ns", "epoch"))
	v1.PUT("/services/:service/instances/:id/health", a.reportHealth, web.Takes("ns"))
	v1.PUT("/services/:service/instances/:id/traffic", a.changeTraffic, web.Takes("ns"))
	v1.DELETE("/services/:service/instances/:id", a.deregister, web.Takes("ns", "epoch", "reason"))
	v1.POST("/commands", a.commands, web.Takes())
	v1.POST("/heartbeats", a.heartbeats, web.Takes("ns"))

	changing := []string{"ns", "after", "at", "index", "wait"}
	filters := []string{"status+", "tag+", "zone", "version", "ready", "meta.*"}
	selection := []string{"ns", "service", "instance", "type+", "heartbeats"}
	v1.GET("/services", a.services, takes(changing), a.afterOwnWrites)
	v1.GET("/services/:service", a.service, takes(changing), a.afterOwnWrites)
	v1.GET("/services/:service/instances", a.instances, takes(changing, filters, []string{"leases"}), a.afterOwnWrites)
	v1.GET("/services/:service/instances/:id", a.instance, takes([]string{"ns", "after", "at"}), a.afterOwnWrites)
	v1.GET("/catalog", a.everything, takes([]string{"ns", "after", "at"}), a.afterOwnWrites)
	v1.GET("/diff", a.diff, takes([]string{"after", "from", "to"}), a.afterOwnWrites)

	v1.GET("/services/:service/instances/:id/history", a.instanceHistory, takes([]string{"ns"}, historyParameters), a.afterOwnWrites)
	v1.GET("/services/:service/history", a.serviceHistory, takes([]string{"ns"}, historyParameters), a.afterOwnWrites)
	v1.GET("/history", a.allHistory, takes([]string{"ns"}, historyParameters), a.afterOwnWrites)
	v1.GET("/events", a.events, takes(selection, []string{"after", "from", "to", "follow", "format"}), a.afterOwnWrites)
	v1.GET("/streams/services/:service", a.streamService, takes([]string{"ns", "from"}, filters))
	v1.GET("/streams/catalog", a.streamCatalog, takes([]string{"ns", "from"}, filters))
	v1.GET("/streams/events", a.streamEvents, takes(selection, []string{"from"}))
	v1.POST("/backup", a.backup, web.Takes())
	v1.POST("/webhooks", a.createWebhook, web.Takes())
	v1.GET("/webhooks", a.listWebhooks, web.Takes())
	v1.GET("/webhooks/:id", a.getWebhook, web.Takes())
	v1.DELETE("/webhooks/:id", a.deleteWebhook, web.Takes("reason"))
	v1.POST("/webhooks/:id/pause", a.pauseWebhook, web.Takes())
	v1.POST("/webhooks/:id/resume", a.resumeWebhook, web.Takes())
	v1.POST("/webhooks/:id/replay", a.replayWebhook, web.Takes())
	v1.GET("/webhooks/:id/deliveries", a.webhookDeliveries, web.Takes("limit"))
	v1.GET("/webhooks/:id/history", a.webhookHistory, takes(historyParameters), a.afterOwnWrites)
	v1.GET("/checkpoint", a.checkpoint, takes([]string{"after"}), a.afterOwnWrites)
	v1.GET("/checkpoint/key", a.checkpointKey, takes())
	v1.GET("/checkpoint/leaves", a.leaves, takes([]string{"after", "from", "limit"}), a.afterOwnWrites)
	v1.GET("/proofs/inclusion", a.inclusion, takes([]string{"after", "position", "size"}), a.afterOwnWrites)
	v1.GET("/proofs/consistency", a.consistency, takes([]string{"after", "from", "to"}), a.afterOwnWrites)

	e.GET("/healthz", a.healthz, web.Takes())
	e.GET("/readyz", a.readyz, web.Takes())
	e.GET("/metrics", echo.WrapHandler(a.Metrics))
	e.GET("/openapi.yaml", a.openapi, web.Takes())
	e.GET("/", a.index, web.Takes())
	return e
}
