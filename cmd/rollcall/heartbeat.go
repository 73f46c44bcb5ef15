package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// shortestEvery is the shortest interval of heartbeats. The shortest lease is 1 s, and an attempt has no longer than the interval.
const shortestEvery = 100 * time.Millisecond

func heartbeatCommand(remote *commandLine) *cobra.Command {
	var every time.Duration
	var of precondition
	var spec instanceFlags
	c := &cobra.Command{
		Use:   "heartbeat SERVICE/ID",
		Short: "Renew an instance's lease, once or --every so often",
		Long: "Heartbeat renews an instance's lease. With --every it goes on until it is interrupted, whatever happens to the registry\n" +
			"or to the path to it: an attempt takes no longer than the interval, and after a failure the next follows in time.\n" +
			"With --address, and the other flags that describe the instance, it registers the instance where none is live.",
		Example: "  rollcall heartbeat checkout/a-1\n  rollcall heartbeat checkout/a-1 --every 10s --owner \"$UID\" --address 10.0.0.5 --port http=8080",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().DurationVar(&every, "every", 0, "go on until interrupted, at this interval; at least 100ms")
	of.flags(c)
	spec.flags(c.Flags())
	c.Flags().Lookup("address").Usage = "register the instance where none is live, at this IP address or host name; with --every"
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		if c.Flags().Changed("every") && every < shortestEvery {
			return usageError{fmt.Errorf("--every must be at least %v, not %v", shortestEvery, every)}
		}
		for _, name := range []string{"port", "tag", "meta", "zone", "version", "service-version", "weight", "ttl"} {
			if err := needsFlag(c, name, "address"); err != nil {
				return err
			}
		}
		if err := needsFlag(c, "address", "every"); err != nil {
			return err
		}
		if every == 0 {
			return remote.command(c, args[0], "renewed", func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
				return r.Heartbeat(ctx, key, options...)
			})
		}
		b := beater{remote: remote, arg: args[0], options: options, owner: of.owner, every: every}
		if c.Flags().Changed("address") {
			if of.epoch != 0 {
				return usageError{errors.New("--epoch and --address exclude each other: a registration begins another epoch")}
			}
			details, err := spec.details()
			if err == nil {
				err = details.Validate()
			}
			if err != nil {
				return usageError{err}
			}
			b.details = &details
		}
		if _, err := remote.instance(args[0]); err != nil {
			return err
		}
		if _, err := remote.client(); err != nil {
			return err
		}
		return b.run(c)
	}
	return c
}

// beater sends heartbeats until it is interrupted.
type beater struct {
	remote  *commandLine
	arg     string
	options []client.CommandOption
	owner   string
	details *domain.Details // nil: an instance that is not live is not registered
	every   time.Duration

	failing string // the newest error that was told; "": the newest attempt succeeded
}

// run sends heartbeats. An error is told when it begins and when it changes, and ends nothing.
func (b *beater) run(c *cobra.Command) error {
	ticks := time.NewTicker(b.every)
	defer ticks.Stop()
	for {
		err := b.attempt(c)
		if c.Context().Err() != nil {
			return nil
		}
		switch {
		case err != nil && err.Error() != b.failing:
			b.failing = err.Error()
			fmt.Fprintf(c.ErrOrStderr(), "rollcall: %s; trying again every %v\n", b.failing, b.every)
		case err == nil:
			b.failing = ""
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-ticks.C:
		}
	}
}

// attempt renews the lease, or registers the instance where none is live, within the interval.
func (b *beater) attempt(c *cobra.Command) error {
	ctx, cancel := context.WithTimeoutCause(c.Context(), b.every, fmt.Errorf("nothing came within %v", b.every))
	defer cancel()
	return b.remote.command(c, b.arg, "renewed", func(_ context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
		reply, err := r.Heartbeat(ctx, key, b.options...)
		var refused *wire.Problem
		if b.details == nil || !errors.As(err, &refused) || refused.Status != http.StatusNotFound && refused.Status != http.StatusGone {
			return reply, err
		}
		return r.Register(ctx, key, *b.details, client.OfOwner(b.owner), client.CreateOnly())
	})
}
