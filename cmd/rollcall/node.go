package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	vouched "github.com/rollcall-registry/rollcall/adapters/access"
	"github.com/rollcall-registry/rollcall/adapters/backup"
	"github.com/rollcall-registry/rollcall/adapters/consul"
	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/adapters/webui"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/docs/api"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/access"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
	"github.com/rollcall-registry/rollcall/projections/policies"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// node has the parts of a registry, wired together. Only node knows all parts.
type node struct {
	settings settings
	logger   *slog.Logger
	proxies  *web.Proxies // nil: there are none
	secure   *tls.Config  // of connections over TCP; nil: the connections have no TLS
	metrics  *metrics.Metrics

	store      *backend
	live       *live.State
	history    *history.History
	deliveries *deliveries
	commands   *commands.Service
	listening  *leases.Listening
	expiry     *commands.Expiry
	members    *commands.Cluster // nil: the node is in no cluster
	probing    *probing          // nil: this node does not probe
	tokens     *access.Table
	policies   *policies.Table
	vouched    *vouched.Callers // nil: access is not controlled
	access     *web.Access      // nil: access is not controlled
	queries    *queries.Service
	api        *httpapi.API
	pages      http.Handler // the web UI; nil: it is off
	dns        *nameServer  // nil: there is none
	consul     net.Listener // of Consul's API; nil: it is not spoken
	consulAPI  *consul.Face
	bounds     *web.Limits // of each caller

	started  time.Time
	at       func(what string, cause func() error)
	stopping context.Context // ends when the node shuts down, so that waiting queries answer at once
	stop     context.CancelFunc
	closers  []func() error // of the parts, in the order in which they were opened
}

// openNode opens the parts of a node, the store first. No part runs yet. If a part cannot be opened, openNode closes the
// parts that are open. at is called with each step of the start, and with a function that gives the cause of a delay.
func openNode(ctx context.Context, s settings, logger *slog.Logger, at func(what string, cause func() error)) (*node, error) {
	n := &node{settings: s, logger: logger, metrics: metrics.New(versionName()), started: time.Now(), at: at}
	n.stopping, n.stop = context.WithCancel(context.Background())
	for _, open := range []func(context.Context) error{
		n.openStore, n.openHistory, n.openLive, n.openDeliveries, n.openAccess, n.openCommands, n.openProbing, n.openQueries, n.openAPI, n.openDNS, n.openConsul,
	} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	return n, nil
}

// close closes the parts, the newest first.
func (n *node) close() (err error) {
	n.stop()
	for _, shut := range slices.Backward(n.closers) {
		err = errors.Join(err, shut())
	}
	return err
}

// onClose adds a function to those that close calls.
func (n *node) onClose(shut func() error) { n.closers = append(n.closers, shut) }

// file is a file or folder of the node's data.
func (n *node) file(name string) string { return filepath.Join(n.settings.data, name) }

func (n *node) openStore(ctx context.Context) (err error) {
	if n.store, err = openBackend(ctx, n.settings, n.metrics, n.logger, n.at); err != nil {
		return err
	}
	n.onClose(n.store.Close)
	return errors.Join(mendFolders(n.settings.data, n.logger), backup.Sweep(n.settings.data)) // this process has opened the store, so that no backup is running
}

func (n *node) openLive(ctx context.Context) (err error) {
	n.at("the catalog is being built", n.store.err)
	said := time.Now()
	collect := noCollections() // until tuneCollector runs
	n.onClose(func() error { collect(); return nil })
	n.live, err = live.Open(ctx, live.Options{
		Store: n.store, Now: time.Now, Logger: n.logger,
		Snapshots: catalogSnapshots(n.settings, n.store.id, n.logger), Replaying: fewerCollections,
		OnProgress: func(at, head eventstore.Position) {
			if time.Since(said) > 2*time.Second {
				said = time.Now()
				n.logger.Info("rebuilding the catalog", "position", at, "of", head, "percent", 100*uint64(at)/uint64(head))
			}
		},
	})
	if err != nil {
		return err
	}
	n.onClose(n.live.Close)
	n.metrics.Watch(n.live, n.store.diskBytes)
	n.metrics.WatchHistory(n.history, func() uint64 { return n.history.Behind(context.Background(), n.store) })
	return nil
}

func (n *node) openHistory(ctx context.Context) (err error) {
	if n.history, err = history.Open(n.file("history"), n.store.id, n.logger); err != nil {
		return err
	}
	n.onClose(n.history.Close)
	told := n.history.Position()
	if err := n.history.Check(ctx, n.store); err != nil { // Check puts a history aside that is ahead of the store
		return err
	}
	return n.mendTail(ctx, told)
}

func (n *node) openDeliveries(ctx context.Context) (err error) {
	if n.deliveries, err = openDeliveries(ctx, n.settings, n.store, n.metrics.Deliveries(time.Now), n.logger); err != nil {
		return err
	}
	n.onClose(n.deliveries.close)
	return nil
}

// openAccess finds out who callers are. While access is not controlled, everybody may do everything.
func (n *node) openAccess(ctx context.Context) (err error) {
	if n.tokens, err = access.Open(ctx, n.store, n.logger); err != nil || !n.settings.controlled() {
		return err
	}
	options := vouched.Options{File: n.settings.accessFile, Now: time.Now, Logger: n.logger, Role: func(name string) bool {
		_, ok := n.tokens.Role(name)
		return ok
	}}
	if n.settings.anonymous != "" {
		options.Anonymous = []domain.TokenSpec{{Roles: []string{n.settings.anonymous}}}
	}
	if n.vouched, err = vouched.Open(options); err != nil {
		return err
	}
	n.access = &web.Access{Tokens: n.tokens, Vouched: n.vouched, Now: time.Now}
	if most := n.settings.maxStale; most > 0 {
		n.access.Stale = func() bool { return n.live.LagTime() > most }
	}
	return nil
}

func (n *node) accessCommands() *commands.Access {
	a := &commands.Access{Store: n.store, State: n.tokens, Now: time.Now, Derive: n.deliveries.secrets.Derive}
	if n.vouched != nil {
		a.Ruled = n.vouched.Names
	}
	return a
}

// limits are the limits of callers; nil: there are no limits.
func (n *node) limits() (*web.Limits, error) {
	perSecond, err := n.settings.limits.perSecond(n.settings.alone())
	if err != nil {
		return nil, err
	}
	limited := n.metrics.Limited(web.AllLimits())
	return web.NewLimits(perSecond, func(l web.Limit) { limited(l.String()) }, time.Now), nil
}

func (n *node) openCommands(ctx context.Context) (err error) {
	if n.policies, err = policies.Open(ctx, n.store, n.logger); err != nil {
		return err
	}
	n.listening = leases.NewListening(n.live.Leases())
	n.metrics.WatchListening(n.listening, time.Now)
	n.commands = commands.New(commands.ReportAppends(n.store, n.listening), func() commands.Catalog { return n.live.Catalog() }, n.live, n.metrics.Commanded)
	n.commands.Guard = &commands.Guard{Policies: n.policies, Now: n.store.now}
	n.commands.Behind = n.store.cluster != nil
	if n.store.cluster != nil {
		n.members = &commands.Cluster{Store: n.store, Projections: n.live, Membership: membership{n.store.cluster}, Logger: n.logger}
	}
	n.expiry = &commands.Expiry{
		Service: n.commands, Projections: n.live, Now: time.Now, Recorded: n.store.now, Logger: n.logger, Preserve: n.settings.preserve,
		Listening: n.listening, State: n.store.err,
	}
	n.expiry.Leadership, _ = n.store.Store.(eventstore.Leadership)
	return nil
}

func (n *node) openQueries(ctx context.Context) error {
	load := func() (*history.Signer, error) { return history.LoadSigner(n.file("checkpoint.key"), n.store.id) }
	signer, err := loadKey(load, func() error { return signedCheckpoints(ctx, n.store) }, n.logger)
	if err != nil {
		return err
	}
	if owner, err := history.KeyOwner(n.file("checkpoint.key")); err == nil && owner != n.store.id {
		n.logger.Warn("the key of the checkpoints is that of another event store: checkpoints are signed in its name, and the key that auditors of this "+
			"store have kept does not verify them", "file", n.file("checkpoint.key"), "key_of", owner, "store", n.store.id)
	}
	n.queries = &queries.Service{
		Live: n.live, Past: asof.New(n.store, catalogSnapshots(n.settings, n.store.id, n.logger)), History: n.history,
		Store: n.store.Store, StoreID: n.store.id.String(), Signer: signer, Now: n.store.now, Listening: n.listening, Stopping: n.stopping,
		Node: queries.Node{Version: versionName(), StoreKind: n.settings.storeKind(), Started: n.started, Ready: n.ready, StoreErr: n.store.err, Bytes: n.store.diskBytes, Disk: n.disk},
	}
	n.metrics.WatchPanics(n.queries.Panics)
	if n.store.cluster != nil {
		n.queries.Node.Cluster = func() wire.ClusterStatus { return clusterStatus(n.store.cluster, n.store.now) }
	}
	if n.probing != nil {
		n.queries.Probes, n.queries.Node.Probes = n.probing, n.probing.status
	}
	return nil
}

func (n *node) openAPI(context.Context) (err error) {
	if n.proxies, err = n.settings.proxies.proxies(); err != nil {
		return err
	}
	if n.bounds, err = n.limits(); err != nil {
		return err
	}
	observer, hosts := n.metrics.HTTP(), web.NewHosts(n.settings.listen, n.settings.allowHosts)
	origins, err := web.ParseOrigins(n.settings.origins)
	if err != nil {
		return err
	}
	config := httpapi.Config{
		Commands: n.commands, Queries: n.queries,
		BackupTo: backupFunc(n.settings.data, n.store, n.history),
		Webhooks: n.deliveries.list, WebhookCommands: n.deliveries.commands, Deliveries: n.deliveries,
		PreservationCommands: &commands.Preservation{Store: n.store, Projections: n.live},
		Access:               n.access, Tokens: n.tokens, AccessCommands: n.accessCommands(),
		Policies: n.policies, PolicyCommands: &commands.Policies{Store: n.store, State: n.policies, Catalog: n.live},
		Shed:             func() { n.listening.Refused(domain.DeafOverload) },
		HeartbeatsAtOnce: n.settings.heartbeatsAtOnce, Remote: n.settings.remote(),
		Observer: observer, Ready: n.ready, Metrics: n.metrics.Handler(), OpenAPI: api.OpenAPI, Version: versionName(),
		Proxies: n.proxies, Limits: n.bounds, Hosts: hosts, Origins: origins, Logger: n.logger,
	}
	if n.members != nil {
		config.ClusterCommands = n.members
	}
	n.api = httpapi.New(config)
	if n.settings.ui {
		pages := webui.Config{Proxies: n.proxies, Observer: observer, Hosts: hosts, Logger: n.logger}
		if n.vouched != nil {
			pages.SignIns = n.vouched.SignIns
		}
		n.pages = webui.New(pages)
	}
	n.metrics.WatchLane(n.api.Lane().Answered)
	n.metrics.WatchAccess(n.access)
	return nil
}

// answer gives a request to the web UI or to the API.
func (n *node) answer(w http.ResponseWriter, r *http.Request) {
	if n.pages != nil && (r.URL.Path == "/ui" || strings.HasPrefix(r.URL.Path, "/ui/")) {
		n.pages.ServeHTTP(w, r)
		return
	}
	n.api.ServeHTTP(w, r)
}

// serve runs the node on a listener until the context ends or a part fails, and then stops the node. The projections run
// longer than the HTTP server, so that the server can still answer the commands that it has accepted.
func (n *node) serve(ctx context.Context, listeners ...net.Listener) (err error) {
	lane := n.api.Lane()
	if n.logger.Enabled(ctx, slog.LevelDebug) {
		lane = nil // the access log has every request, and the lane writes none
	}
	server := web.NewServer(http.HandlerFunc(n.answer), lane, n.logger)
	server.TLS, server.ProxyProtocol = n.secure, n.settings.proxies.onConnections(n.proxies)
	running, halt := context.WithCancel(context.Background())
	background, running := errgroup.WithContext(running)
	n.run(running, background)
	other := web.NewServer(n.consulAPI, n.consulLane(), n.logger)
	other.TLS, other.ProxyProtocol = server.TLS, server.ProxyProtocol
	served := make(chan error, len(listeners)+1) // gets one value for each listener, when its server has ended
	for _, l := range listeners {
		go func() { served <- server.Serve(l) }()
	}
	if n.consul != nil {
		go func() { served <- other.Serve(n.consul) }()
	}
	select {
	case <-ctx.Done():
	case <-running.Done(): // a part failed
	case err = <-served:
	}
	n.logger.Info("shutting down")
	n.stop()
	err = errors.Join(err, server.Shutdown(context.Background()), other.Shutdown(context.Background()))
	halt()
	return errors.Join(err, background.Wait())
}

// run starts the parts that run beside the HTTP server. The group ends with the context, or when a part fails.
func (n *node) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return n.live.Run(ctx) })
	group.Go(func() error {
		if err := n.history.Run(ctx, n.store); err != nil { // a failed history must not end the catalog
			n.logger.Error("the history stands still; stop the registry and run rollcall rebuild", "cause", err)
		}
		return nil
	})
	group.Go(func() error { return n.deliveries.run(ctx, n.stopping) })
	group.Go(func() error { return n.tokens.Run(ctx, n.store) })
	group.Go(func() error { return n.policies.Run(ctx, n.store) })
	if n.dns != nil {
		group.Go(func() error { return n.dns.server.Serve(ctx, n.dns.packets, n.dns.streams) })
	}
	if n.vouched != nil {
		group.Go(func() error { return n.vouched.Run(ctx) })
		group.Go(func() error { return n.reloadRules(ctx) })
	}
	group.Go(func() error { return tick(n.stopping, leases.Tick, n.expiry.Run) }) // no lease lapses while requests are refused
	if n.members != nil {
		group.Go(func() error { return tick(n.stopping, memberTick, n.members.RecordMembers) })
	}
	if n.probing != nil {
		group.Go(func() error { return n.probing.run(n.stopping, n) })
	}
	group.Go(func() error { return n.store.watch(ctx) })
	group.Go(func() error { return tick(ctx, time.Second, n.live.Measure) })
	group.Go(func() error { return tick(ctx, collectorPause, tuneCollector) })
}

// tick runs a loop that is driven by a ticker.
func tick(ctx context.Context, every time.Duration, loop func(context.Context, <-chan time.Time) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	return loop(ctx, ticker.C)
}

// memberTick is how often the leader looks whether the events tell of all members.
const memberTick = 5 * time.Second

// maxLag is the longest time that a node may be behind the event store and still be ready.
const maxLag = 5 * time.Second

// ready says why this node should get no requests; nil: the node is ready.
func (n *node) ready() error {
	if n.stopping.Err() != nil {
		return errors.New("it is shutting down")
	}
	if err := n.store.err(); err != nil {
		return err
	}
	if lag := n.live.LagTime(); lag > maxLag {
		return fmt.Errorf("the catalog has been behind the event store for %s", lag.Round(time.Millisecond))
	}
	return nil
}

// disk is how many bytes the file system of the data folder has free, and in all.
func (n *node) disk() (free, total uint64, err error) {
	usage, err := vfs.Default.GetDiskUsage(n.settings.data)
	return usage.AvailBytes, usage.TotalBytes, err
}

func catalogSnapshots(s settings, store uuid.UUID, logger *slog.Logger) projections.Snapshots {
	return projections.Snapshots{
		Dir: filepath.Join(s.data, "snapshots"), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: store, Logger: logger,
		Decoders: new(projections.Decoders),
	}
}
