package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/client/watch"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/queries"
)

// agentSettings are the flags of `rollcall agent`.
type agentSettings struct {
	listen, data, host, address, zone, owner, node string
	watched                                        []string
	leave, insecure                                bool
	dns                                            naming
}

func agentCommand(remote *commandLine) *cobra.Command {
	var s agentSettings
	c := &cobra.Command{
		Use:   "agent FILE|FOLDER...",
		Short: "Keep the instances of this host registered, and answer lookups on it",
		Long: "Agent runs on every host. It registers the instances that files of definitions name (YAML or JSON; it reads them again\n" +
			"when they change), runs their checks here, renews all leases with one request, and answers lookups, also over DNS, from\n" +
			"a cache that is there while the registry is away. It registers the host itself as an instance of the service node.",
		Example: "  rollcall agent /etc/rollcall/instances --url http://registry:7700 --data /var/lib/rollcall-agent",
		Args:    cobra.MinimumNArgs(1),
	}
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:7701", "where lookups are answered; \"\": nowhere")
	f.BoolVar(&s.insecure, "insecure", false, "listen on an address that other machines reach, without access control")
	f.StringVar(&s.data, "data", "", "folder of the cache; left out, nothing is kept for the next start")
	f.StringVar(&s.host, "host", "", "name of this host; left out, that of the operating system")
	f.StringVar(&s.address, "address", "", "address of instances that name none; left out, an address of this machine")
	f.StringVar(&s.zone, "zone", "", "zone of instances that name none")
	f.StringVar(&s.owner, "owner", "", "owner of the registrations; left out, agent:HOST. With a token for its own instances: the token's name")
	f.StringVar(&s.node, "node", "node", "service as whose instance the host itself is registered; \"\": it is not")
	f.StringSliceVar(&s.watched, "watch", nil, "service, or namespace/service, that is in the cache before its first lookup, which needs --listen or --dns-listen; * is all services; may be given again")
	s.dns.flags(f)
	f.BoolVar(&s.leave, "leave", false, "drain and deregister all instances when the agent ends; otherwise they stay until their leases end")
	c.RunE = func(c *cobra.Command, args []string) error { return runAgent(c, remote, s, args) }
	return printsWords(c, "it runs until it is stopped, and logs")
}

func runAgent(c *cobra.Command, remote *commandLine, s agentSettings, paths []string) error {
	registry, err := remote.client()
	if err != nil {
		return err
	}
	if s.listen != "" {
		if err := checkListen("listen", s.listen); err != nil {
			return err
		}
	}
	if s.listen != "" && !web.LoopbackListen(s.listen) && !s.insecure {
		return usageError{fmt.Errorf("--listen %s is not a loopback address: the agent has no access control, so that needs --insecure", s.listen)}
	}
	if err := checkAgentDNS(&s); err != nil {
		return err
	}
	if len(s.watched) > 0 && s.listen == "" && !s.dns.on() {
		return usageError{errors.New("--watch keeps services for lookups, which are answered nowhere: it needs --listen or --dns-listen")}
	}
	if s.host == "" {
		if s.host, err = os.Hostname(); err != nil {
			return err
		}
	}
	defaults := agent.Defaults{Namespace: remote.namespace, Host: s.host, Address: cmp.Or(s.address, ownAddress()), Zone: s.zone}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return usageError{err}
		}
	}
	all := slices.Contains(s.watched, "*")
	watched, err := queries.ParseFollowed(remote.namespace, slices.DeleteFunc(s.watched, func(name string) bool { return name == "*" }))
	if err != nil {
		return usageError{err}
	}
	logger := slog.New(slog.NewJSONHandler(c.ErrOrStderr(), nil))
	logLibraries(logger)
	watching := watch.Options{OnChange: logStream(logger)}
	if s.data != "" {
		if err := os.MkdirAll(s.data, 0o700); err != nil {
			return err
		}
		watching.Cache = filepath.Join(s.data, "cache.json")
	}
	var listener net.Listener
	var port uint16
	if s.listen != "" {
		if listener, err = net.Listen("tcp", s.listen); err != nil {
			return err
		}
		defer listener.Close()
		port = uint16(listener.Addr().(*net.TCPAddr).Port)
	}
	look, done := localLook()
	defer done()
	options := agent.Options{
		Client: registry, Paths: paths, Defaults: defaults, Owner: cmp.Or(s.owner, "agent:"+s.host), Look: look, Logger: logger, Leave: s.leave,
	}
	if s.node != "" {
		options.Node = agent.NodeOf(s.node, defaults, port, versionName())
	}
	if watchdog, err := daemon.SdWatchdogEnabled(false); err != nil {
		logger.Warn("systemd's watchdog is not told", "cause", err)
	} else if watchdog > 0 {
		options.AliveEvery = max(watchdog/2, time.Millisecond)
		options.Alive = func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) } // systemd ends an agent that it does not hear
	}
	a := agent.New(options)
	group, ctx := errgroup.WithContext(c.Context())
	watchCtx, stopWatch := context.WithCancel(ctx)
	w := watch.Start(watchCtx, registry, watching)
	defer func() { stopWatch(); <-w.Done() }() // it writes the cache
	measured := metrics.NewAgent(versionName(), func() (bool, time.Duration) {
		state := w.State()
		if all || s.dns.on() {
			state = w.Catalog().State()
		}
		return state.Live, state.Age()
	})
	var names *agentDNS
	if s.dns.on() {
		if names, err = openAgentDNS(&s, w, measured.DNS(), logger); err != nil {
			return err
		}
		group.Go(func() error { return names.server.Serve(ctx, names.packets, names.streams) })
	}
	if listener != nil {
		api := agent.NewAPI(w, remote.namespace, web.NewHosts(s.listen, nil), a.Problems)
		api.Handle("GET /metrics", measured.Handler())
		if all || names != nil {
			api.WatchAll()
		}
		for _, key := range watched {
			if err := api.Watch(key); err != nil {
				return err
			}
		}
		server := web.NewServer(api, nil, logger)
		group.Go(func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return server.Shutdown(ending)
		})
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-reload:
				a.Reload()
			}
		}
	})
	group.Go(func() error {
		a.Run(ctx, func() {
			if names != nil {
				names.wait(ctx)
			}
			url := ""
			if listener != nil {
				url = "http://" + listener.Addr().String()
			}
			logger.Info("the agent is ready", "url", url, "host", s.host)
			if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
				logger.Warn("systemd was not told", "cause", err)
			}
		})
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) // systemd sees the end by itself
		return nil
	})
	return group.Wait()
}

// logStream logs when the registry's stream is lost, why it cannot be had again, and when it is up, and so for the cache; each cause once.
func logStream(logger *slog.Logger) func(watch.State) {
	var mu sync.Mutex
	live, lost, uncached := false, "", ""
	return func(w watch.State) {
		cause := ""
		if w.Err != nil {
			cause = w.Err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		ofCache := errors.As(w.Err, new(*watch.CacheFailed))
		switch {
		case w.Live && !live:
			logger.Info("the registry's stream is up")
			lost = ""
		case !w.Live && !ofCache && cause != lost:
			logger.Warn("the registry's stream is lost; lookups are answered from the cache", "cause", cause)
			lost = cause
		}
		live = w.Live
		switch {
		case ofCache && cause != uncached:
			logger.Warn("the cache cannot be kept; lookups are answered from memory", "cause", cause)
			uncached = cause
		case w.Err == nil && uncached != "":
			logger.Info("the cache is kept again")
			uncached = ""
		}
	}
}
