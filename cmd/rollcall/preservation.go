package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

func preservationCommand(remote *commandLine) *cobra.Command {
	status := preservationStatusCommand(remote)
	c := &cobra.Command{
		Use:   "preservation",
		Short: "Show where expiry is held, hold it or end that",
		Long: `While very many leases of a namespace lapse at once, the registry holds expiry there by itself and goes on when
they are renewed, or after 15 minutes. An operator can hold it as well, until an operator ends it.`,
		Args: cobra.NoArgs, RunE: status.RunE,
	}
	c.AddCommand(
		status,
		preservationActionCommand(remote, (*client.Client).HoldExpiry, "hold", "Let no lease expire (of every namespace with --ns '*')"),
		preservationActionCommand(remote, (*client.Client).EndPreservation, "end", "Let leases expire again; those that are overdue go at once"),
	)
	return c
}

func preservationStatusCommand(remote *commandLine) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show where expiry is held, since when and by whom", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := remote.client()
			if err != nil {
				return err
			}
			reply, err := registry.Preservation(c.Context(), remote.scope())
			if err != nil {
				return err
			}
			return remote.print(c, reply.Raw, func(w io.Writer) error {
				title(w, "expiry in %s", remote.scopeWords())
				return preservationTable(w, reply.Value)
			})
		},
	}
}

func preservationActionCommand(remote *commandLine, change func(*client.Client, context.Context, string, string) (client.Reply[wire.Preservation], error), use, short string) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		Example: "  rollcall preservation " + use + " --ns production --reason 'network work on rack 4'",
	}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the history")
	c.RunE = func(c *cobra.Command, _ []string) error {
		registry, err := remote.client()
		if err != nil {
			return err
		}
		reply, err := change(registry, c.Context(), remote.namespace, reason)
		if err != nil {
			return err
		}
		return remote.print(c, reply.Raw, func(w io.Writer) error { return preservationTable(w, reply.Value) })
	}
	return c
}

func preservationTable(w io.Writer, p wire.Preservation) error {
	return table(w, "NAMESPACE\tEXPIRY\tSINCE\tBY\tREASON\tLEASES\tOVERDUE", func(row func(...any)) {
		for _, n := range p.Namespaces {
			expiry := "goes on"
			if n.Held {
				expiry = "held"
			}
			since := "-"
			if n.Since != nil {
				since = stamp(*n.Since)
			}
			row(n.Namespace, expiry, since, dash(n.Actor), dash(oneLine(n.Reason)), n.Leases, n.Overdue)
		}
	})
}

// warnHeld prints a warning if expiry is held in a namespace ("*": in any): the instances that were just shown may be
// gone.
func (c *commandLine) warnHeld(cmd *cobra.Command, registry *client.Client, namespace string) {
	if namespace == queries.AllNamespaces {
		namespace = ""
	}
	reply, err := registry.Preservation(cmd.Context(), namespace)
	if err != nil {
		return // the command itself has succeeded
	}
	for _, n := range reply.Value.Namespaces {
		if !n.Held {
			continue
		}
		since := ""
		if n.Since != nil {
			since = " since " + stamp(*n.Since)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "expiry is held in namespace %s%s, by %s: %d of its %d leases are overdue\n", n.Namespace, since, dash(n.Actor), n.Overdue, n.Leases)
	}
}

// nearEnd is the time before an instance's end in which `why` shows interruptions of the registry.
const nearEnd = time.Hour

// interruptions are the times near the end of an instance, or until now, in which the registry could not take heartbeats.
func interruptions(ctx context.Context, registry *client.Client, last *wire.HistoryEntry) ([]wire.HistoryEntry, error) {
	q := client.HistoryQuery{Types: []string{domain.TypeListeningInterrupted}, Limit: 20}
	if last.Type == domain.TypeLeaseExpired {
		q.From = client.Moment(last.RecordedAt.Add(-nearEnd).Format(time.RFC3339Nano))
		q.To = client.Moment(last.RecordedAt.Format(time.RFC3339Nano))
	} else {
		q.From = client.Moment(nearEnd.String() + " ago")
	}
	page, err := registry.History(ctx, q)
	return page.Value.Entries, err
}
