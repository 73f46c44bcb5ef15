package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

func demoCommand() *cobra.Command {
	s := settings{store: "embedded", retention: 72 * time.Hour, preserve: true, minFree: defaultMinFree}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a server on a temporary folder, with simulated services that come and go",
		Args:  cobra.NoArgs,
	}
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:7700", "address and port to listen on; another one is taken when it is in use")
	c.Flags().BoolVar(&s.insecure, "insecure", false, "listen on an address that others can reach")
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
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
		var fleet sync.WaitGroup
		err = serve(ctx, s, slog.New(slog.DiscardHandler), func(addr net.Addr) {
			url := listenURL(addr)
			fmt.Fprintf(c.OutOrStdout(), demoText, url)
			if remote, err := client.New(url, client.Options{Via: "cli"}); err == nil { // the URL is the listener's own
				fleet.Go(func() { simulate(ctx, remote) })
			}
		})
		stop()
		fleet.Wait()
		return err
	}
	return alone(printsWords(c, "it runs until it is stopped, and tells what to try"))
}

const demoText = `Rollcall runs at %[1]s with a few dozen simulated instances. Try, in another terminal:

  curl %[1]s/v1/services                                  # what is registered
  curl '%[1]s/v1/services/checkout/instances?ready=true'  # who may get traffic
  curl -i -X PUT %[1]s/v1/services/mine/instances/a-1 -H 'Content-Type: application/json' -d '{"address":"127.0.0.1","ports":{"http":8080},"ttl":"10s"}'
  curl '%[1]s/v1/services/mine/instances?wait=30s&index=0' # and again after ten seconds: the lease has lapsed
  curl %[1]s/metrics

Everything is in a temporary folder and goes with Ctrl-C.
`

// simulate runs a fleet until the context ends: instances register, heartbeat, fall ill, drain,
// leave, crash and come back.
func simulate(ctx context.Context, remote *client.Client) {
	fleet := map[string]int{"web": 6, "checkout": 8, "cart": 5, "search": 6, "payments": 4, "users": 4, "mail": 2, "reports": 1}
	var running sync.WaitGroup
	n := 0
	for service, size := range fleet {
		for i := range size {
			n++
			running.Go(func() {
				simulated{remote, service, fmt.Sprintf("%s-%d", service, i+1), fmt.Sprintf("10.0.%d.%d", n%4, n)}.live(ctx)
			})
		}
	}
	running.Wait()
}

type simulated struct {
	remote               *client.Client
	service, id, address string
}

func (s simulated) live(ctx context.Context) {
	key := domain.Key{Namespace: domain.DefaultNamespace, Service: s.service, ID: s.id}
	for version := 1; ctx.Err() == nil; {
		_, _ = s.remote.Register(ctx, key, domain.Details{ // a refusal shows in the catalog as an absence
			Address: s.address, Ports: map[string]uint16{"http": 8080}, Zone: []string{"eu-1a", "eu-1b"}[len(s.id)%2],
			Version: fmt.Sprintf("1.%d.0", version), Weight: domain.DefaultWeight, Status: domain.Passing, TTL: domain.Duration(6 * time.Second),
			Metadata: map[string]string{"team": "demo"},
		})
		for ctx.Err() == nil {
			pause(ctx, time.Second+rand.N(time.Second))
			if _, err := s.remote.Heartbeat(ctx, key); err != nil {
				break // it lapsed: register again
			}
			switch chance := rand.IntN(1000); {
			case chance < 12: // falls ill, and recovers
				_, _ = s.remote.ReportHealth(ctx, key, client.Health{Status: domain.Critical, Output: "connection pool exhausted"})
				pause(ctx, rand.N(4*time.Second))
				_, _ = s.remote.ReportHealth(ctx, key, client.Health{Status: domain.Passing})
			case chance < 20: // is deployed anew
				_, _ = s.remote.ChangeTraffic(ctx, key, domain.Draining, "deploy")
				pause(ctx, 2*time.Second)
				_, _ = s.remote.Deregister(ctx, key, "")
				pause(ctx, 2*time.Second)
				version++
				_, _ = s.remote.Register(ctx, key, domain.Details{Address: s.address, Weight: domain.DefaultWeight, Version: fmt.Sprintf("1.%d.0", version), Status: domain.Passing, TTL: domain.Duration(6 * time.Second)})
			case chance < 24: // crashes without a word
				pause(ctx, 12*time.Second)
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
