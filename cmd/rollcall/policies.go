package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func policyCommand(remote *commandLine) *cobra.Command {
	c := group("policy", "Set, show and remove the policies that guard services")
	c.Long = `A policy holds what others than an instance itself may do to it: how many instances must stay ready, and how many
one actor may take out of traffic within a span. It also says which instances are kept when they fall silent, and when lookups of
ready instances give all.`
	c.AddCommand(setPolicyCommand(remote), listPoliciesCommand(remote), showPolicyCommand(remote), removePolicyCommand(remote))
	return c
}

func setPolicyCommand(remote *commandLine) *cobra.Command {
	var spec domain.PolicySpec
	var service, minReady, maxRemovals, panicBelow string
	c := &cobra.Command{
		Use: "set NAME", Short: "Make a policy, or give it another specification", Args: cobra.ExactArgs(1),
		Example: "  rollcall policy set keep-checkout --ns prod --service checkout --min-ready 2\n" +
			"  rollcall policy set no-rampage -A --max-removals 20/10m",
	}
	f := c.Flags()
	f.StringVar(&service, "service", "*", "for this service of --ns, or pattern (pay-*)")
	f.StringVar(&minReady, "min-ready", "", "instances, or the share of them, that must stay ready: 2, 50%")
	f.StringVar(&maxRemovals, "max-removals", "", "instances that one actor may take out of traffic within a span: 20/10m")
	f.IntVar(&spec.KeepLast, "keep-last", 0, "instances of each service that become critical when their leases lapse, instead of vanishing")
	f.StringVar(&panicBelow, "panic-threshold", "", "lookups of ready instances give all instances while a smaller share of a service is ready: 50%")
	f.StringVar(&spec.Description, "description", "", "what it is for")
	c.RunE = func(c *cobra.Command, args []string) error {
		spec.Namespace, spec.Service, spec.MinReady = domain.Pattern(remote.namespace), domain.Pattern(service), domain.Amount(minReady)
		spec.PanicThreshold = domain.Amount(panicBelow)
		if maxRemovals != "" {
			count, within, _ := strings.Cut(maxRemovals, "/")
			n, err := strconv.Atoi(count)
			span, wrong := domain.ParseDuration(within)
			if err = errors.Join(err, wrong, checkWhole(count)); err != nil {
				return usageError{fmt.Errorf("--max-removals must be a number and a span, such as 20/10m, not %q", maxRemovals)}
			}
			spec.MaxRemovals = &domain.Removals{Count: n, Within: domain.Duration(span)}
		}
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := registry.SetPolicy(c.Context(), args[0], spec)
		if err != nil {
			return err
		}
		return remote.print(c, reply.Raw, func(w io.Writer) error {
			if _, err := fmt.Fprintf(w, "policy %s set\n", args[0]); err != nil {
				return err
			}
			return tellNotes(w, reply.Value)
		})
	}
	return c
}

func tellNotes(w io.Writer, p wire.Policy) error {
	for _, note := range p.Notes {
		if _, err := fmt.Fprintln(w, "note:", note); err != nil {
			return err
		}
	}
	return nil
}

func listPoliciesCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the policies", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			list, err := registry.Policies(c.Context())
			if err != nil {
				return err
			}
			names := func() (names []string) {
				for _, p := range list.Value.Policies {
					names = append(names, p.Name)
				}
				return names
			}
			return remote.show(c, list.Raw, names, func(w io.Writer) error { return policyTable(w, list.Value.Policies) })
		},
	}
}

func policyTable(w io.Writer, all []wire.Policy) error {
	return table(w, "NAME\tNAMESPACE\tSERVICE\tASKS\tSET BY\tSET AT\tDESCRIPTION", func(row func(...any)) {
		for _, p := range all {
			row(p.Name, p.Namespace, p.Service, strings.Join(queries.PolicyAsks(p.PolicySpec), ", "), dash(p.SetBy), p.SetAt.Format(time.RFC3339), dash(oneLine(p.Description)))
		}
	})
}

func showPolicyCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a policy, and where it is not met", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			reply, err := registry.Policy(c.Context(), args[0])
			if err != nil {
				return err
			}
			return remote.print(c, reply.Raw, func(w io.Writer) error {
				if err := policyTable(w, []wire.Policy{reply.Value}); err != nil {
					return err
				}
				return tellNotes(w, reply.Value)
			})
		},
	}
}

func removePolicyCommand(remote *commandLine) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "remove NAME", Short: "Remove a policy", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, args []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		if err := registry.RemovePolicy(c.Context(), args[0], reason); err != nil {
			return err
		}
		return remote.printDone(c, "policy", args[0], "removed")
	}
	return c
}
