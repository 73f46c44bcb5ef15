package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/adapters/probes"
)

func demoCommand() *cobra.Command {
	s := settings{store: "embedded", retention: 72 * time.Hour, preserve: true, ui: true, minFree: defaultMinFree,
		webhookPauseAfter: 24 * time.Hour, probeConcurrency: probes.DefaultConcurrency}
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a server on a temporary folder, and tell a story of simulated services",
		Long: `Runs a server on a temporary folder with two dozen simulated instances, and tells a story: a deploy, a crash, a
partition of the network, and an instance that somebody deregisters by mistake. It ends with the commands that find the
causes, and with the one that takes the mistake back. The server runs until Ctrl-C; the folder goes with it.`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:7700", "address and port to listen on; another one is taken when it is in use")
	c.Flags().BoolVar(&s.insecure, "insecure", false, "listen on an address that others can reach")
	c.Flags().DurationVar(&ttl, "ttl", 4*time.Second, "how long the leases of the simulated instances hold without a heartbeat: 1s to 1m")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if ttl < time.Second || ttl > time.Minute {
			return usageError{errors.New("--ttl must be 1s to 1m")}
		}
		if err := checkListen("listen", s.listen); err != nil {
			return err
		}
		if err := s.checkAccess(); err != nil {
			return err
		}
		if s.data, err = os.MkdirTemp("", "rollcall-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.data)) }()
		probe, err := net.Listen("tcp", s.listen)
		if err != nil {
			s.listen = "127.0.0.1:0"
		} else if err := probe.Close(); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(c.Context())
		defer stop()
		var told sync.WaitGroup
		err = serve(ctx, s, slog.New(slog.DiscardHandler), func(addr net.Addr) {
			told.Go(func() { runDemo(ctx, c.OutOrStdout(), listenURL(addr), ttl) })
		})
		stop()
		told.Wait()
		return err
	}
	return alone(printsWords(c, "it runs until it is stopped, and tells what to try"))
}

// programName is what a user types to run this program again: the path by which it was begun, or its name where a shell has found it.
func programName(begun string) string {
	if strings.ContainsRune(begun, '/') {
		return begun
	}
	return "rollcall"
}

// runDemo keeps the instances alive and tells the story, until the context ends.
func runDemo(ctx context.Context, out io.Writer, url string, ttl time.Duration) {
	fmt.Fprintf(out, "Rollcall runs at %s on a temporary folder. Look at %s/ui/ in a browser. Ctrl-C ends it.\n\n", url, url)
	remote, err := client.New(url, client.Options{Via: "cli"})
	if err != nil { // the URL is the listener's own
		fmt.Fprintln(out, "There is no story:", err)
		return
	}
	f := newFleet(remote, ttl)
	var alive sync.WaitGroup
	defer alive.Wait()
	alive.Go(func() { f.keepAlive(ctx) })
	t := &story{remote: remote, fleet: f, out: out, from: time.Now()}
	err = t.tell(ctx)
	switch {
	case ctx.Err() != nil: // stopped in the middle
	case err != nil:
		fmt.Fprintln(out, "The story ends here:", errorLine(err))
	default:
		t.hints(url, programName(os.Args[0]))
	}
}
