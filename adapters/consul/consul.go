// Package consul speaks the HTTP API of Consul's agents for service discovery, over the same commands and queries as the
// native API. Clients that were written for Consul register, report checks and look services up without a change; the
// events say `via: consul`.
//
// What Consul carries and the domain has no use for is kept verbatim with the registration (its origin). Everything that
// is not service discovery (K/V, sessions, ACLs, the mesh) is refused with a line that says what to use instead. Errors are
// plain text, and word for word those of Consul where clients match on them.
package consul

import (
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/web/lane"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
)

// Config is what the face needs.
type Config struct {
	Commands   *commands.Service
	Queries    *queries.Service
	Access     *web.Access  // nil: everybody may do everything
	Proxies    *web.Proxies // tell where requests come from; nil: from the connection's address
	Limits     *web.Limits  // of each caller; nil: there are none
	Hosts      *web.Hosts   // nil: every host is answered for
	Datacenter string       // default dc1
	NodeName   string       // of this registry
	NodeID     string       // a UUID
	Address    string       // of this registry, as agents would give it
	Version    string       // of Rollcall
	// DeregisterAfter removes an instance that a client registered without saying when, after its check was critical for so
	// long; 0: never.
	DeregisterAfter time.Duration
	MaxBlocked      int          // blocking queries that wait at once; 0: 20,000
	Ready           func() error // why the registry cannot take commands; nil: it can
	// Shed is called for every report of a check that is refused under overload, and every 200 ms for one that waits for its turn; nil: no
	// call. Meanwhile nobody knows which leases would have been renewed.
	Shed   func()
	Now    func() time.Time
	Logger *slog.Logger
}

// Level is the release of Consul whose API the face speaks.
const Level = "1.20.0"

// Limits of the face.
const (
	MaxBody    = 512 << 10        // bytes of a request's body, as with Consul
	MaxWait    = 10 * time.Minute // the longest wait of a blocking query
	usualWait  = 5 * time.Minute
	maxBlocked = 20_000 // what Config.MaxBlocked is by default
	atOnce     = 256    // other requests that are answered at once
	maxReports = 16_384 // reports of checks that are answered at once
	longBodies = 128    // bodies of over 64 KiB that are read at once, of reports and of other requests each
)

type face struct {
	Config
	directory *queries.Directory
	floor     uint64 // no index is below the position at the start: what was removed before is not known
	blocked   chan struct{}
	working   *web.Turns
	reporting *web.Turns // reports of checks have turns of their own: without them checks would lapse
	polled    *web.Turns // a change may end thousands of blocking queries at once: reports do not queue behind them
	ids       *web.RequestIDs

	mu    sync.RWMutex
	known map[agentID]found      // what was found last, checked at each use
	last  map[agentID]domain.Key // what the catalog was told of last at each node, checked at each use

	serials atomic.Uint64 // of shapes
	marks   marks
	replies replies
}

// Face is the handler of all routes. Its Lane makes reports of checks cheaper.
type Face struct {
	*echo.Echo
	face *face
	lane *lane.Lane
}

// Lane answers plain reports of checks with the same bytes as the Face. It is for web.NewServer.
func (f *Face) Lane() *lane.Lane { return f.lane }

// Blocked is the number of blocking queries that wait.
func (f *Face) Blocked() int { return len(f.face.blocked) }

// New makes the face.
func New(c Config) *Face {
	if c.Datacenter == "" {
		c.Datacenter = "dc1"
	}
	if c.MaxBlocked == 0 {
		c.MaxBlocked = maxBlocked
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	f := &face{
		Config: c, directory: c.Queries.Directory(), floor: max(uint64(c.Queries.Position()), 1),
		blocked: make(chan struct{}, c.MaxBlocked), working: web.NewTurns(atOnce), reporting: web.NewTurns(maxReports), polled: web.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)), ids: web.NewRequestIDs(), known: map[agentID]found{}, last: map[agentID]domain.Key{},
	}
	f.working.Long, f.reporting.Long, f.polled.Patient = web.NewTurns(longBodies), web.NewTurns(longBodies), true
	for _, t := range []*web.Turns{f.reporting, f.reporting.Long} {
		t.OnRefused, t.OnWaiting = c.Shed, c.Shed
	}
	f.marks.all, f.replies.kept.Limit = map[agentID]mark{}, keptReplies
	none := func(echo.Context) bool { return false }
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = func(err error, c echo.Context) { f.fail(c, err) }
	e.Use(f.ids.Identify, c.Proxies.Resolve, web.Recover, c.Limits.Count(none, none), web.OwnSite)
	e.Any("/*", f.serve)
	return &Face{e, f, lane.New(lane.Options{Reports: f.reports, Host: c.Hosts.AllowBytes})}
}

// serve routes by the decoded path: what follows a route's beginning is an id, with all its slashes.
func (f *face) serve(c echo.Context) error {
	r := c.Request()
	if r.Host != "" && !f.Hosts.Allow(r.Host) { // browsers always name a host; the checks of load balancers over HTTP/1.0 name none
		return failure{http.StatusMisdirectedRequest, "this server answers for localhost, loopback addresses and the hosts of --allow-host"}
	}
	c.Response().Header().Set("X-Consul-Default-Acl-Policy", f.policy())
	path := "/" + strings.TrimLeft(r.URL.Path, "/") // an address that ends in a slash gives clients two of them
	if path == "/" {
		return text(c, http.StatusOK, "Rollcall, with Consul's HTTP API for service discovery\n")
	}
	for i := range routes {
		route := &routes[i]
		id, ok := route.match(path)
		if !ok {
			continue
		}
		if r.Method == http.MethodOptions {
			c.Response().Header().Set("Allow", route.allowed())
			return c.NoContent(http.StatusOK)
		}
		if !route.takes(r.Method) {
			c.Response().Header().Set("Allow", route.allowed())
			return failure{http.StatusMethodNotAllowed, "method " + r.Method + " not allowed"}
		}
		q, err := f.read(c, id)
		if err != nil {
			return err
		}
		limit, turns := web.Requests, f.working
		if route.reports() {
			limit, turns = web.Heartbeats, f.reporting
		}
		if err := f.limit(c, q.who, limit); err != nil {
			return err
		}
		q.route = route.path
		return turns.Admit(func(echo.Context) error { return route.handle(f, q) })(c)
	}
	return failure{http.StatusNotFound, "Invalid URL path: not a recognized HTTP API endpoint"}
}

func (f *face) policy() string {
	if f.Access == nil {
		return "allow"
	}
	return "deny"
}
