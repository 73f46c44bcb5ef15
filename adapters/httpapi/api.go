// Package httpapi is the native HTTP API under /v1, and the routes that operators need.
//
// Commands answer when they are durable. Every reply carries Rollcall-Position, up to where the
// catalog was when the reply was made; ?after=<position> makes a query wait for one's own writes.
package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/projections/webhooks"
)

// Limits of the API. They are part of the public contract (docs/api).
const (
	MaxBody      = 1 << 20 // bytes of a single command's body
	MaxBatchBody = 8 << 20 // bytes of a batch's body
	MaxBatch     = 10_000  // items of a batch
	MaxWait      = 5 * time.Minute
	afterTimeout = 5 * time.Second // how long ?after= waits
)

// Config is what the API is made of.
type Config struct {
	Commands *commands.Service
	Registry *live.State
	Store    eventstore.Store
	StoreID  string
	History  *history.History
	Past     *asof.Past
	// Checkpoints signs the heads of the tamper-evident log.
	Checkpoints *history.Signer
	// Webhooks are those there are; WebhookCommands change them, Deliveries carries them out.
	Webhooks        *webhooks.List
	WebhookCommands *commands.Webhooks
	Deliveries      Deliveries

	// BackupTo writes a backup as a tar archive; nil: the event store is not here.
	BackupTo func(w io.Writer, have json.RawMessage) error

	Ready   func() error // why the server is not ready, nil when it is
	Metrics http.Handler
	OpenAPI []byte
	Version string
	Now     func() time.Time
	Logger  *slog.Logger
	// Stopping ends when the server shuts down, so that waiting queries answer at once.
	Stopping context.Context
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

func (a *api) router() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = web.Fail(a.Logger)
	e.Use(a.requestIDs.Identify, web.Recover, a.positioned, a.admitted)

	v1 := e.Group("/v1")
	v1.PUT("/services/:service/instances/:id", a.register, web.Takes("ns"))
	v1.POST("/services/:service/instances", a.registerNew, web.Takes("ns"))
	v1.PUT("/services/:service/instances/:id/heartbeat", a.heartbeat, web.Takes("ns", "epoch"))
	v1.PUT("/services/:service/instances/:id/health", a.reportHealth, web.Takes("ns"))
	v1.PUT("/services/:service/instances/:id/traffic", a.changeTraffic, web.Takes("ns"))
	v1.DELETE("/services/:service/instances/:id", a.deregister, web.Takes("ns", "epoch", "reason"))
	v1.POST("/commands", a.commands, web.Takes())
	v1.POST("/heartbeats", a.heartbeats, web.Takes("ns"))

	v1.GET("/services", a.services, a.afterOwnWrites)
	v1.GET("/services/:service", a.service, a.afterOwnWrites)
	v1.GET("/services/:service/instances", a.instances, a.afterOwnWrites)
	v1.GET("/services/:service/instances/:id", a.instance, a.afterOwnWrites)
	v1.GET("/catalog", a.everything, a.afterOwnWrites)
	v1.GET("/diff", a.diff, a.afterOwnWrites)

	v1.GET("/services/:service/instances/:id/history", a.instanceHistory, a.afterOwnWrites)
	v1.GET("/services/:service/history", a.serviceHistory, a.afterOwnWrites)
	v1.GET("/history", a.allHistory, a.afterOwnWrites)
	v1.GET("/events", a.events, a.afterOwnWrites)
	v1.GET("/streams/services/:service", a.streamService)
	v1.GET("/streams/catalog", a.streamCatalog)
	v1.GET("/streams/events", a.streamEvents)
	v1.POST("/backup", a.backup, web.Takes())
	v1.POST("/webhooks", a.createWebhook, web.Takes())
	v1.GET("/webhooks", a.listWebhooks, web.Takes())
	v1.GET("/webhooks/:id", a.getWebhook, web.Takes())
	v1.DELETE("/webhooks/:id", a.deleteWebhook, web.Takes("reason"))
	v1.POST("/webhooks/:id/pause", a.pauseWebhook, web.Takes())
	v1.POST("/webhooks/:id/resume", a.resumeWebhook, web.Takes())
	v1.POST("/webhooks/:id/replay", a.replayWebhook, web.Takes())
	v1.GET("/webhooks/:id/deliveries", a.webhookDeliveries, web.Takes("limit"))
	v1.GET("/webhooks/:id/history", a.webhookHistory)
	v1.GET("/checkpoint", a.checkpoint)
	v1.GET("/checkpoint/key", a.checkpointKey)
	v1.GET("/checkpoint/leaves", a.leaves)
	v1.GET("/proofs/inclusion", a.inclusion)
	v1.GET("/proofs/consistency", a.consistency)

	e.GET("/healthz", a.healthz, web.Takes())
	e.GET("/readyz", a.readyz, web.Takes())
	e.GET("/metrics", echo.WrapHandler(a.Metrics))
	e.GET("/openapi.yaml", a.openapi, web.Takes())
	e.GET("/", a.index, web.Takes())
	return e
}
