package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/adapters/httpapi"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/pebblestore"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/docs/api"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/projections"
	"github.com/rollcall-registry/rollcall/projections/asof"
	"github.com/rollcall-registry/rollcall/projections/catalog"
	"github.com/rollcall-registry/rollcall/projections/history"
	"github.com/rollcall-registry/rollcall/projections/leases"
	"github.com/rollcall-registry/rollcall/projections/live"
)

// settings is what a server can be told.
type settings struct {
	listen    string
	data      string
	store     string
	retention time.Duration
	preserve  bool
	logLevel  string
	logFormat string
	debug     string // where profiles are served; "": nowhere

	minFree             uint64 // MiB
	publish             []string
	webhookAllowPrivate bool
	webhookPauseAfter   time.Duration
}

func serveCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the registry",
		Long: `Run the registry. Every flag can also be given in the environment, as ROLLCALL_ and the flag's
name (ROLLCALL_LISTEN), and in the YAML file of --config, under the flag's name (listen: …). The
command line goes before the environment, the environment before the file.`,
		Args: cobra.NoArgs,
	}
	s.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := configure(c.LocalNonPersistentFlags()); err != nil {
			return err
		}
		logger, err := s.logger(os.Stderr)
		if err != nil {
			return err
		}
		return serve(c.Context(), s, logger, nil)
	}
	return c
}

func (s *settings) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:7700", "address and port to listen on")
	f.StringVar(&s.data, "data", "./rollcall-data", "folder for events and snapshots")
	f.StringVar(&s.store, "store", "embedded", "event store: embedded, or EventStoreDB's or KurrentDB's connection string, esdb://… or esdb+discover://…")
	f.DurationVar(&s.retention, "heartbeat-retention", 72*time.Hour, "how long heartbeats are kept; lifecycle events are kept for ever")
	f.BoolVar(&s.preserve, "self-preservation", true, "hold expiry while over 15 % of the leases lapse at once")
	f.Uint64Var(&s.minFree, "min-free-mib", 128, "refuse commands while the disk has less room than this, in MiB")
	f.StringArrayVar(&s.publish, "publish", nil, "publish events to a broker, nats://host:4222/subject or redis://host:6379/stream, with ?type=, ns= or service= to pick some; may be given again")
	f.BoolVar(&s.webhookAllowPrivate, "webhook-allow-private", false, "let webhooks reach loopback, link-local and private addresses")
	f.DurationVar(&s.webhookPauseAfter, "webhook-pause-after", 24*time.Hour, "pause a webhook whose target failed for so long")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.debug, "debug-listen", "", "address and port to serve Go's profiles on (/debug/pprof/); nobody but you should reach it")
	f.String("config", "", "YAML file with any of these settings")
}

func (s *settings) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.logLevel)); err != nil {
		return nil, usageError{fmt.Errorf("log-level must be debug, info, warn or error, not %q", s.logLevel)}
	}
	switch opts := (&slog.HandlerOptions{Level: level}); s.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usageError{fmt.Errorf("log-format must be text or json, not %q", s.logFormat)}
}

func (s *settings) check() error {
	if !embedded(s.store) && !isESDB(s.store) {
		return usageError{fmt.Errorf("store must be embedded, esdb://… or esdb+discover://…, not %q", s.store)}
	}
	if s.retention < time.Hour {
		return usageError{fmt.Errorf("heartbeat-retention must be at least 1h, not %s", s.retention)}
	}
	return nil
}

// Server timeouts. A client that is slower than this is cut off; what it was acknowledged stands.
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 30 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	maxHeader       = 64 << 10
	shutdownTimeout = 15 * time.Second
)

// serve runs the registry until the context ends. listening is told the address, if anyone asks.
func serve(ctx context.Context, s settings, logger *slog.Logger, listening func(net.Addr)) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	stopDebug, err := serveDebug(s.debug, logger)
	if err != nil {
		return err
	}
	defer stopDebug()
	observed := metrics.New(versionName())
	store, err := openBackend(ctx, s, observed, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	registry, err := openProjections(ctx, s, store, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	observed.Watch(registry, store.diskBytes)

	past, err := history.Open(filepath.Join(s.data, "history"), store.id, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, past.Close()) }()
	signer, err := history.LoadSigner(filepath.Join(s.data, "checkpoint.key"), store.id)
	if err != nil {
		return err
	}
	observed.WatchHistory(past, func() uint64 { return past.Behind(context.Background(), store) })

	out, err := openDeliveries(ctx, s, store, store.id, observed.Registerer(), logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()

	service := commands.New(store, func() commands.Catalog { return registry.Catalog() }, registry, observed.Commanded)
	expiry := &commands.Expiry{Service: service, Projections: registry, Now: time.Now, Logger: logger, Preserve: s.preserve}

	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	stopping, stop := context.WithCancel(context.Background())
	defer stop()
	handler := httpapi.New(httpapi.Config{
		Commands: service, Registry: registry, Store: store, StoreID: store.id.String(),
		History: past, Past: asof.New(store, catalogSnapshots(s, store.id, logger)), Checkpoints: signer,
		BackupTo: backupFunc(s.data, store, past), Webhooks: out.list, WebhookCommands: out.commands, Deliveries: out,
		Ready:   readiness(stopping, store, registry),
		Metrics: observed.Handler(), OpenAPI: api.OpenAPI, Version: versionName(), Now: time.Now, Logger: logger, Stopping: stopping,
	})
	observed.WatchLane(handler.InLane)
	server := &http.Server{
		Handler: handler, ConnState: handler.ConnState,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}

	// The projections outlive the server, so that commands it has accepted can still be answered.
	running, halt := context.WithCancel(context.Background())
	background, running := errgroup.WithContext(running)
	background.Go(func() error { return registry.Run(running) })
	background.Go(func() error {
		if err := past.Run(running, store); err != nil { // the catalog must not go with it
			logger.Error("the history stands still; stop the registry and run rollcall rebuild", "cause", err)
		}
		return nil
	})
	background.Go(func() error { return out.run(running) })
	background.Go(func() error { return tick(running, leases.Tick, expiry.Run) })
	background.Go(func() error { return store.watch(running) })
	background.Go(func() error { return tick(running, time.Second, registry.Measure) })
	background.Go(func() error { return tick(running, time.Second, tuneCollector) })

	served := make(chan error, 1)
	go func() { served <- server.Serve(handler.Listen(listener)) }()
	logger.Info("rollcall is ready", "url", "http://"+listener.Addr().String(), "data", s.data, "version", versionName(), "instances", registry.Catalog().Len())
	if listening != nil {
		listening(listener.Addr())
	}
	select {
	case <-ctx.Done():
	case <-running.Done(): // a projection failed
	case err = <-served:
	}
	logger.Info("shutting down")
	stop()
	patient, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if shutdownErr := server.Shutdown(patient); shutdownErr != nil {
		err = errors.Join(err, fmt.Errorf("some requests were cut off: %w", shutdownErr), server.Close())
	}
	halt()
	return errors.Join(err, background.Wait())
}

func catalogSnapshots(s settings, store uuid.UUID, logger *slog.Logger) projections.Snapshots {
	return projections.Snapshots{
		Dir: filepath.Join(s.data, "snapshots"), Name: "catalog", Version: catalog.SnapshotVersion, StoreID: store, Logger: logger,
	}
}

func openProjections(ctx context.Context, s settings, store *backend, logger *slog.Logger) (*live.State, error) {
	said := time.Now()
	defer fewerCollections()()
	return live.Open(ctx, live.Options{
		Store: store, Now: time.Now, Logger: logger,
		Snapshots: catalogSnapshots(s, store.id, logger),
		OnProgress: func(at, head eventstore.Position) {
			if time.Since(said) > 2*time.Second {
				said = time.Now()
				logger.Info("rebuilding the catalog", "position", at, "of", head, "percent", 100*uint64(at)/uint64(head))
			}
		},
	})
}

// maxLag is how long a node may be behind the event store and still get requests.
const maxLag = 5 * time.Second

// readiness says why this node should get no requests.
func readiness(stopping context.Context, store *backend, registry *live.State) func() error {
	return func() error {
		if stopping.Err() != nil {
			return errors.New("it is shutting down")
		}
		if err := store.err(); err != nil {
			return err
		}
		if lag := registry.LagTime(); lag > maxLag {
			return fmt.Errorf("the catalog has been behind the event store for %s", lag.Round(time.Millisecond))
		}
		return nil
	}
}

// tick runs a loop that is driven by a ticker.
func tick(ctx context.Context, every time.Duration, loop func(context.Context, <-chan time.Time) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	return loop(ctx, ticker.C)
}

// retain removes heartbeats that are older than the retention, at every tick.
func retain(store *pebblestore.Store, retention time.Duration, logger *slog.Logger) func(context.Context, <-chan time.Time) error {
	return func(ctx context.Context, ticks <-chan time.Time) error {
		for {
			if _, err := store.TrimHeartbeats(time.Now().Add(-retention)); err != nil {
				logger.Error("old heartbeats could not be removed", "cause", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticks:
			}
		}
	}
}

// listenURL is where a server that listens on the address is reached from this machine.
func listenURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(strings.Trim(host, "[]")); err == nil && ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
