package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	vouched "github.com/rollcall-registry/rollcall/adapters/access"
	"github.com/rollcall-registry/rollcall/adapters/probes"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/projections/durable"
)

// minStale is the least access-max-stale: a node looks every second whether it is level, and an election takes a second.
const minStale = 10 * time.Second

// defaultMinFree is the free disk space, in MiB, below which commands are refused.
const defaultMinFree = 128

// settings is what a server can be told.
type settings struct {
	listen     string
	tls        web.TLS
	allowHosts []string
	origins    []string      // other sites whose pages may use the API
	access     string        // on, or off; "": off
	accessFile string        // the rules for JWTs and certificates; "": none
	maxStale   time.Duration // for how long the node decides by its own copy of tokens and roles; 0: for ever
	anonymous  string        // the role of callers without a token; "": none
	proxies    trusting
	limits     limits
	dns        naming
	consul     consulFace
	insecure   bool // others may reach the registry without access control
	ui         bool // serve the web UI
	data       string
	store      string
	retention  time.Duration
	preserve   bool
	logLevel   string
	logFormat  string
	debug      string // where profiles are served; "": nowhere

	probes           string   // on, or off; "": on
	probeAllow       []string // networks that probes may reach
	probeConcurrency int      // > 0; 0: the default, of a node that no command line began
	probeCA          string   // file with authorities of targets' certificates; "": the system's
	cluster          clustering
	nodeName         string // "": made of the machine's name and the port

	minFree             uint64 // MiB
	heartbeatsAtOnce    int    // 0: as many as the API takes; no flag, tests take fewer
	publish             []string
	webhookAllowPrivate bool
	webhookPauseAfter   time.Duration // > 0; 0: the default, as above
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
		if err := needValues(c.LocalNonPersistentFlags()); err != nil {
			return err
		}
		logger, err := s.logger(os.Stderr)
		if err != nil {
			return err
		}
		logLibraries(logger)
		return serve(c.Context(), s, logger, nil)
	}
	return alone(printsWords(c, "it logs, in JSON with --log-format json"))
}

func (s *settings) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:7700", "address and port to listen on")
	f.StringSliceVar(&s.allowHosts, "allow-host", nil, "answer requests to this host, too, without a port; for a server that listens on a loopback address behind a proxy or under a name; may be given again")
	f.StringSliceVar(&s.origins, "cors-origin", nil, "let pages of this origin use the API from a browser, such as https://ui.example.com; exact, may be given again; none when left out")
	f.StringVar(&s.tls.Cert, "tls-cert", "", "certificate of the server with its chain, in PEM: speak TLS; read again when it changes")
	f.StringVar(&s.tls.Key, "tls-key", "", "private key of the certificate, in PEM")
	f.StringVar(&s.tls.ClientCA, "tls-client-ca", "", "authorities that sign clients' certificates, in PEM")
	f.StringVar(&s.tls.ClientCRL, "tls-client-crl", "", "lists of clients' certificates that their authorities revoked, in PEM or DER; read again when it changes")
	f.StringVar((*string)(&s.tls.ClientAuth), "tls-client-auth", string(web.ClientAuthOff), "whether clients must show a certificate: off, optional or required")
	f.StringVar(&s.access, "access", "off", "on: callers need a token, and may do what its roles grant; off: everybody may do everything, which is for a loopback address")
	f.StringVar(&s.accessFile, "access-config", "", "with --access on, YAML or JSON file of the token issuers (OpenID Connect) and client certificates that are trusted, and of the roles that they get; read again when it changes and on SIGHUP")
	f.DurationVar(&s.maxStale, "access-max-stale", 0, "with --access on, refuse all callers once this node has not been level with the event store for this long, because a token may have been revoked since; 0: never")
	f.StringVar(&s.anonymous, "anonymous-role", "", "with --access on, the built-in role of callers without a token, such as reader; none when left out")
	s.proxies.flags(f)
	s.limits.flags(f)
	f.BoolVar(&s.insecure, "insecure", false, "listen on an address that others can reach although access is off")
	s.dns.flags(f)
	s.consul.flags(f)
	f.BoolVar(&s.ui, "ui", true, "serve the web UI at /ui/")
	f.StringVar(&s.data, "data", "./rollcall-data", "folder for events and snapshots")
	s.cluster.flags(f)
	f.StringVar(&s.store, "store", "embedded", "event store: embedded, or EventStoreDB's or KurrentDB's connection string, esdb://… or esdb+discover://…")
	f.DurationVar(&s.retention, "heartbeat-retention", 72*time.Hour, "how long heartbeats are kept; lifecycle events are kept for ever")
	f.BoolVar(&s.preserve, "self-preservation", true, "hold expiry in a namespace where at least 10 and over 15 % of the leases lapse at once")
	f.StringVar(&s.probes, "probes", "on", "on: this node looks at instances as their checks ask for; off: it leaves that to other nodes")
	f.StringArrayVar(&s.probeAllow, "probe-allow", nil, "network that probes may reach besides the instance's own address, such as 10.0.0.0/8; may be given again")
	f.IntVar(&s.probeConcurrency, "probe-concurrency", probes.DefaultConcurrency, "how many probes may be under way at once")
	f.StringVar(&s.probeCA, "probe-ca", "", "authorities that sign the certificates of probed instances, in PEM; the system's when left out")
	f.StringVar(&s.nodeName, "node-name", "", "name of this node among those of the registry; made of the machine's name and the port when left out")
	f.Uint64Var(&s.minFree, "min-free-mib", defaultMinFree, "refuse commands while the disk has less free space than this, in MiB")
	f.StringArrayVar(&s.publish, "publish", nil, "publish events to a broker, nats://host:4222/subject or redis://host:6379/stream, with ?type=, ns= or service= to pick some; may be given again")
	f.BoolVar(&s.webhookAllowPrivate, "webhook-allow-private", false, "let webhooks reach loopback, link-local and private addresses")
	f.DurationVar(&s.webhookPauseAfter, "webhook-pause-after", 24*time.Hour, "pause a webhook whose target failed for so long")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.debug, "debug-listen", "", "address and port to serve Go's profiles on (/debug/pprof/); nobody but you should reach it")
	f.String("config", "", "YAML file with any of these settings")
}

// logLibraries has the logger tell, for debugging, what libraries write to the log of the process.
func logLibraries(logger *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(logger.Handler(), slog.LevelDebug).Writer())
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
		return usageError{errors.New("store must be embedded, esdb://… or esdb+discover://…")} // it may hold a password, so that it is not shown
	}
	if err := s.checkListens(); err != nil {
		return err
	}
	if s.tls.On() {
		if _, err := s.tlsConfig(slog.New(slog.DiscardHandler)); err != nil {
			return usageError{err}
		}
	}
	if _, err := web.ParseOrigins(s.origins); err != nil {
		return usageError{fmt.Errorf("cors-origin: %w", err)}
	}
	if s.minFree == 0 {
		return usageError{errors.New("min-free-mib must be at least 1: the event store needs space to go on")}
	}
	if s.webhookPauseAfter <= 0 {
		return usageError{fmt.Errorf("webhook-pause-after must be longer than 0, not %s", s.webhookPauseAfter)}
	}
	if s.probeConcurrency < 1 || s.probeConcurrency > 1<<16 {
		return usageError{fmt.Errorf("probe-concurrency must be from 1 to 65536, not %d", s.probeConcurrency)}
	}
	if s.retention < time.Hour {
		return usageError{fmt.Errorf("heartbeat-retention must be at least 1h, not %s", s.retention)}
	}
	if _, err := s.brokers(); err != nil {
		return err
	}
	if err := s.checkCluster(); err != nil {
		return err
	}
	if _, err := s.probing(); err != nil {
		return usageError{err}
	}
	if err := s.checkAccess(); err != nil {
		return err
	}
	if err := s.checkDNS(); err != nil {
		return err
	}
	return s.checkConsul()
}

// controlled says whether callers need a token.
func (s *settings) controlled() bool { return s.access == "on" }

func (s *settings) checkAccess() error {
	if s.access != "on" && s.access != "off" && s.access != "" {
		return usageError{fmt.Errorf("access must be on or off, not %q", s.access)}
	}
	if s.controlled() && s.insecure {
		return usageError{errors.New("insecure and --access on contradict each other: insecure lets everybody do everything, so leave it out")}
	}
	if s.accessFile != "" {
		if !s.controlled() {
			return usageError{errors.New("access-config needs --access on: without it everybody may do everything")}
		}
		config, err := vouched.Read(s.accessFile)
		if err != nil {
			return usageError{fmt.Errorf("access-config: %w", err)}
		}
		if config.Anonymous != nil && s.anonymous != "" {
			return usageError{errors.New("anonymous-role and the anonymous of access-config say the same thing: give one of them")}
		}
	}
	if s.maxStale != 0 && (s.maxStale < minStale || !s.controlled()) {
		return usageError{fmt.Errorf("access-max-stale needs --access on, and must be 0 or at least %s", minStale)}
	}
	if s.anonymous != "" {
		if !s.controlled() {
			return usageError{errors.New("anonymous-role needs --access on: without it everybody may do everything")}
		}
		if !slices.ContainsFunc(domain.BuiltInRoles(), func(r domain.Role) bool { return r.Name == s.anonymous }) {
			return usageError{fmt.Errorf("anonymous-role must be a built-in role, not %q", s.anonymous)}
		}
	}
	if _, err := s.proxies.proxies(); err != nil {
		return usageError{err}
	}
	if _, err := s.limits.perSecond(s.alone()); err != nil {
		return usageError{err}
	}
	if !s.controlled() && !s.insecure && s.proxies.any() {
		return usageError{errors.New("others can reach the registry through a trusted proxy, and access is off: give --access on and make tokens with rollcall token, or --insecure to let everybody do everything")}
	}
	if !s.controlled() && !s.insecure && !web.LoopbackListen(s.listen) {
		return usageError{fmt.Errorf("others can reach %s, and access is off: give --access on and make tokens with rollcall token, or --insecure to let everybody do everything", s.listen)}
	}
	return nil
}

// alone says whether only this machine reaches the registry.
func (s *settings) alone() bool { return web.LoopbackListen(s.listen) && !s.proxies.any() }

// storeKind is the kind of the event store, without its address and password.
func (s *settings) storeKind() string {
	if embedded(s.store) {
		return s.store
	}
	return "esdb"
}

// tlsConfig is how connections over TCP are secured; nil: they are plain.
func (s *settings) tlsConfig(logger *slog.Logger) (*tls.Config, error) {
	if !s.tls.On() {
		return nil, nil
	}
	settings := s.tls
	settings.Logger = logger
	return settings.Config()
}

// serve runs the registry until the context ends. listening is told the address, if anyone asks.
func serve(ctx context.Context, s settings, logger *slog.Logger, listening func(net.Addr)) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	if err := durable.CheckFolder(s.data); err != nil {
		return err
	}
	stopDebug, err := serveDebug(s.debug, logger)
	if err != nil {
		return err
	}
	defer stopDebug()
	secure, err := s.tlsConfig(logger)
	if err != nil {
		return err
	}
	proxies, err := s.proxies.proxies()
	if err != nil {
		return err
	}
	start, err := startListening(s.listen, secure, s.proxies.onConnections(proxies), logger)
	if err != nil {
		return err
	}
	url := "http://" + start.listener.Addr().String()
	if secure != nil {
		url = "https://" + start.listener.Addr().String()
	}
	logger.Info("rollcall is starting", "url", url)
	if !s.controlled() {
		logger.Warn("access is not controlled: whoever reaches the port may do everything", "url", url)
	}
	if s.nodeName == "" {
		s.nodeName = s.cluster.node
	}
	if s.nodeName == "" {
		s.nodeName = nodeNameOf(start.listener.Addr())
	}
	n, err := openNode(ctx, s, logger, start.at)
	if err != nil {
		start.abandon()
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // it was told to end
		}
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	listener, err := start.stop()
	if err != nil {
		return err
	}
	defer listener.Close() // the server closed it, if it ran
	listeners := []net.Listener{listener}
	if socket, err := listenLocal(s.data, logger); err == nil {
		listeners = append(listeners, socket)
	} else {
		logger.Error("there is no socket in the data folder: a backup can only be taken when the registry does not run", "cause", err)
	}
	logger.Info("rollcall is ready", "url", url, "data", s.data, "version", versionName(), "instances", n.live.Catalog().Len())
	if listening != nil {
		listening(listener.Addr())
	}
	n.secure = secure
	return n.serve(ctx, listeners...)
}

// listenURL is where a server that listens on the address is reached from this machine.
func listenURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(strings.Trim(host, "[]")); err == nil && ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
