package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func clientCommands(remote *commandLine) []*cobra.Command {
	return []*cobra.Command{
		registerCommand(remote), runCommand(remote), agentCommand(remote), heartbeatCommand(remote), deregisterCommand(remote), healthCommand(remote),
		drainCommand(remote), undrainCommand(remote), servicesCommand(remote), instancesCommand(remote), lsCommand(remote),
		getCommand(remote), describeCommand(remote), watchCommand(remote), webhooksCommand(remote), preservationCommand(remote), statusCommand(remote),
		checksCommand(remote), checkCommand(remote),
	}
}

// command sends a command about the instance that the argument names, and prints the result in one line. did says what was
// done; "": what the registry says.
func (c *commandLine) command(cmd *cobra.Command, arg, did string, send func(context.Context, *client.Client, domain.Key) (client.Reply[wire.Result], error)) error {
	key, err := c.instance(arg)
	if err != nil {
		return err
	}
	remote, err := c.client()
	if err != nil {
		return err
	}
	reply, err := send(cmd.Context(), remote, key)
	if err != nil {
		return err
	}
	r := reply.Value
	if did == "" || r.Outcome != "" { // what was to be renewed may have had to be registered
		did = cmp.Or(r.Outcome, "registered") // an earlier registry does not say
	}
	return c.show(cmd, reply.Raw, func() []string { return []string{c.nameOf(r.Namespace, r.Service+"/"+r.ID)} }, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s/%s/%s %s (epoch %d, revision %d, position %s)\n", r.Namespace, r.Service, r.ID, did, r.Epoch, r.Revision, r.Position)
		return err
	})
}

// precondition names the registration of an instance that a command is for.
type precondition struct {
	epoch uint64
	owner string
}

// flags adds the flags --epoch and --owner.
func (m *precondition) flags(c *cobra.Command) {
	c.Flags().Uint64Var(&m.epoch, "epoch", 0, "only if this epoch is live; the command does not reach a successor then")
	c.Flags().StringVar(&m.owner, "owner", "", "only if this owner registered the instance")
}

// options are the precondition as options of the client. A flag must not be empty: a script whose variable is not set must
// not lose the precondition that protects the successor.
func (m *precondition) options(c *cobra.Command) ([]client.CommandOption, error) {
	switch {
	case c.Flags().Changed("owner") && m.owner == "":
		return nil, usageError{errors.New("--owner must not be empty")}
	case c.Flags().Changed("epoch") && m.epoch == 0:
		return nil, usageError{errors.New("--epoch must be at least 1")}
	}
	return []client.CommandOption{client.OfEpoch(m.epoch), client.OfOwner(m.owner)}, nil
}

func registerCommand(remote *commandLine) *cobra.Command {
	var d domain.Details
	var ports map[string]int
	var weight uint16
	var status string
	var ttl, removeAfter leaseTime
	var onLapse string
	var checks []string
	var of precondition
	var createOnly bool
	c := &cobra.Command{
		Use:     "register SERVICE/ID --address ADDRESS",
		Short:   "Register an instance, or renew it if nothing differs",
		Example: "  rollcall register checkout/a-1 --address 10.0.0.5 --port http=8080 --tag canary --meta team=shop",
		Args:    cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.StringVar(&d.Address, "address", "", "IP address or host name")
	f.StringToIntVar(&ports, "port", nil, "named port, e.g. http=8080; may be given again")
	f.StringSliceVar(&d.Tags, "tag", nil, "tag; may be given again")
	f.StringToStringVar(&d.Metadata, "meta", nil, "metadata pair, e.g. team=shop; may be given again")
	eachOnce(f, "port", "meta")
	f.StringVar(&d.Zone, "zone", "", "zone")
	versionVar(f, &d.Version, "version of the service")
	f.Uint16Var(&weight, "weight", domain.DefaultWeight, "share of traffic, relative to the others")
	f.StringVar(&status, "status", "", "starting, passing, warning or critical; left out, the present one stays, or it begins as passing")
	ttl = leaseTime(domain.DefaultTTL)
	f.Var(&ttl, "ttl", "how long the lease holds without a heartbeat; none: there is no lease")
	f.StringVar(&onLapse, "on-lapse", "", "what happens when the lease lapses: remove (default) or critical")
	f.Var(&removeAfter, "remove-after", "with --on-lapse critical: removed when it was critical for this long")
	f.StringArrayVar(&checks, "check", nil, "check, e.g. id=worker,kind=ttl,ttl=15s, or as JSON; may be given again. Left out, the present ones stay")
	f.BoolVar(&createOnly, "create-only", false, "only if no such instance is registered")
	of.flags(c)
	f.Lookup("owner").Usage = "who registers, e.g. a pod's UID; another owner's live instance is replaced, in the next epoch"
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		if createOnly {
			options = append(options, client.CreateOnly())
		}
		if d.Address == "" {
			return usageError{errors.New("--address is needed")}
		}
		d.Weight, d.Status, d.TTL = weight, domain.Status(status), domain.Duration(ttl)
		d.OnLapse, d.RemoveAfter = domain.LapsePolicy(onLapse), domain.Duration(removeAfter)
		for _, text := range checks {
			check, err := readCheck(text)
			if err != nil {
				return err
			}
			d.Checks = append(d.Checks, check)
		}
		d.Ports = map[string]uint16{}
		for name, port := range ports {
			if port < 1 || port > 65535 {
				return usageError{fmt.Errorf("port %s must be 1-65535, not %d", name, port)}
			}
			d.Ports[name] = uint16(port)
		}
		return remote.command(c, args[0], "", func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.Register(ctx, key, d, options...)
		})
	}
	return c
}

func deregisterCommand(remote *commandLine) *cobra.Command {
	var reason string
	var force bool
	var of precondition
	c := &cobra.Command{
		Use:   "deregister SERVICE/ID",
		Short: "Take an instance out of the catalog",
		Args:  cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.Flags().BoolVar(&force, "force", false, "also where a policy refuses it; needs --reason, and is kept in the history")
	of.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		if force {
			options = append(options, client.Forced())
		}
		return remote.command(c, args[0], "deregistered", func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.Deregister(ctx, key, reason, options...)
		})
	}
	return c
}

func healthCommand(remote *commandLine) *cobra.Command {
	var reason, source string
	var of precondition
	c := &cobra.Command{
		Use:     "health SERVICE/ID starting|passing|warning|critical",
		Short:   "Report an instance's health, as an operator or for the instance",
		Example: "  rollcall health checkout/a-1 critical --reason 'answers with errors'",
		Args:    cobra.ExactArgs(2),
	}
	c.Flags().StringVar(&reason, "reason", "", "what was seen; kept in the history")
	c.Flags().StringVar(&reason, "note", "", "what was seen; kept in the history")
	_ = c.Flags().MarkDeprecated("note", "it is called --reason now") // fails for an unknown flag only
	c.Flags().StringVar(&source, "source", string(domain.FromOperator), "whose word it is: operator, client (the instance itself) or check")
	of.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		report := client.Health{Status: domain.Status(args[1]), Output: reason, Source: domain.HealthSource(source)}
		return remote.command(c, args[0], "is "+args[1]+", says "+sourceWords(report.Source), func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.ReportHealth(ctx, key, report, options...)
		})
	}
	return c
}

func drainCommand(remote *commandLine) *cobra.Command {
	var resume, maintenance bool
	c := trafficCommand(remote, "drain SERVICE/ID", "Stop traffic to an instance; undrain lets it come again", func() domain.Traffic {
		switch {
		case resume:
			return domain.Serving
		case maintenance:
			return domain.Maintenance
		}
		return domain.Draining
	})
	c.Flags().BoolVar(&maintenance, "maintenance", false, "put it into maintenance instead, which outlives its registration")
	c.Flags().BoolVar(&resume, "resume", false, "let traffic come again")
	_ = c.Flags().MarkDeprecated("resume", "use rollcall undrain") // fails for an unknown flag only
	c.PreRunE = func(c *cobra.Command, _ []string) error { return notTogether(c, "resume", "maintenance") }
	return c
}

func undrainCommand(remote *commandLine) *cobra.Command {
	return trafficCommand(remote, "undrain SERVICE/ID", "Let traffic come again to an instance that is draining or in maintenance", func() domain.Traffic { return domain.Serving })
}

// trafficCommand changes the traffic of an instance to what is wanted once the flags are read.
func trafficCommand(remote *commandLine, use, short string, wanted func() domain.Traffic) *cobra.Command {
	var reason string
	var force bool
	var of precondition
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.Flags().BoolVar(&force, "force", false, "also where a policy refuses it; needs --reason, and is kept in the history")
	of.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		options, err := of.options(c)
		if err != nil {
			return err
		}
		if force {
			options = append(options, client.Forced())
		}
		traffic := wanted()
		return remote.command(c, args[0], "is "+string(traffic), func(ctx context.Context, r *client.Client, key domain.Key) (client.Reply[wire.Result], error) {
			return r.ChangeTraffic(ctx, key, traffic, reason, options...)
		})
	}
	return c
}
